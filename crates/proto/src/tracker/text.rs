//! Text that a tracker wants shown: one line, no control characters (a terminal would obey them), bounded.

/// Longest text taken, in bytes of the input.
const MAX_LEN: usize = 512;

/// Makes text safe to show: what is no UTF-8 or no printing character is replaced, and the end is cut off.
pub(super) fn clean(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(MAX_LEN)];
    let text = String::from_utf8_lossy(cut);
    let shown = |c: char| if is_shown(c) { c } else { ' ' };
    text.trim_matches(|c: char| c.is_whitespace() || c == '\0').chars().map(shown).collect()
}

/// Control characters, and those that turn the direction of the text around them, are not.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(clean(b" not \x1b[31mregistered\r\n\0"), "not  [31mregistered");
        assert_eq!(clean("a\u{202e}b".as_bytes()), "a b");
        assert_eq!(clean(b"\xff"), "\u{fffd}");
        assert_eq!(clean(&[b'x'; 9999]).len(), MAX_LEN);
    }
}
