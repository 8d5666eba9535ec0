//! A QR code (ISO/IEC 18004) drawn with half blocks: two rows of modules to a line of text.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code; the standard asks for four.
const QUIET: usize = 4;

/// Draws `text`, or nothing if it is too long for a code. With `colored`, dark modules are black on white whatever the
/// terminal's colours; without, light modules are drawn in the terminal's foreground, which suits dark terminals.
pub(crate) fn draw(text: &str, colored: bool) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let width = code.width();
    let colors = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let (x, y) = (x.wrapping_sub(QUIET), y.wrapping_sub(QUIET));
        x < width && y < width && colors[y * width + x] == Color::Dark
    };
    let side = width + 2 * QUIET;
    let mut out = String::with_capacity(side * side * 2);
    for y in (0..side).step_by(2) {
        let row = (0..side).map(|x| half_blocks(is_dark(x, y) == colored, is_dark(x, y + 1) == colored));
        push_row(&mut out, row, colored);
    }
    Some(out)
}

/// One line of text; black on white if colored.
fn push_row(out: &mut String, row: impl Iterator<Item = char>, colored: bool) {
    if colored {
        out.push_str("\x1b[38;5;16;48;5;231m");
        out.extend(row);
        out.push_str("\x1b[0m");
    } else {
        out.extend(row);
    }
    out.push('\n');
}

/// The character that is inked in its upper and lower half as told.
const fn half_blocks(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corner_is_a_finder_pattern_in_a_quiet_zone() {
        let plain = draw("magnet:?xt=urn:btih:0000", false).unwrap();
        let rows: Vec<Vec<char>> = plain.lines().map(|l| l.chars().collect()).collect();
        assert!(rows.iter().all(|r| r.len() == rows[0].len()));
        assert_eq!(rows.len(), rows[0].len().div_ceil(2));
        // Light is inked: two lines of quiet zone, then the dark top bar of the pattern over a light row within it.
        assert!(rows[0].iter().chain(&rows[1]).all(|c| *c == '█'));
        assert_eq!(rows[2][..12].iter().collect::<String>(), "████ ▄▄▄▄▄ █");
    }

    #[test]
    fn too_much_is_refused() {
        assert!(draw(&"x".repeat(5000), true).is_none());
    }
}
