//! The small languages of option values: sizes, rates, durations, ratios; and trackers.

use std::time::Duration;

use samara_proto::tracker::{Scheme, TrackerUrl};

/// Splits `15m` into the number and its unit.
fn number_and_unit(text: &str) -> Result<(u64, &str), String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number =
        text[..digits].parse().map_err(|_| format!("{text:?} does not begin with a whole number"))?;
    Ok((number, text[digits..].trim_start()))
}

/// Reads `16KiB`, `4MiB`, `4M` or bytes; units count in 1024.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = number_and_unit(text)?;
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err(format!("{unit:?} is not a unit of size: use KiB, MiB, GiB, or none for bytes")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is too large"))
}

/// Reads `2MiB/s`, `2MiB`, `512k` or bytes a second: a size, at least one byte.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let amount = text.strip_suffix("/s").or_else(|| text.strip_suffix("/S")).unwrap_or(text);
    match size(amount) {
        Ok(0) => Err("a limit of 0 lets nothing pass: leave the option out for no limit".into()),
        Ok(rate) => Ok(rate),
        Err(why) => Err(format!("{why} (a rate is written like 512KiB/s, 2MiB/s, or bytes per second)")),
    }
}

/// Reads a piece length: a power of two from 16 KiB.
pub(crate) fn piece_length(text: &str) -> Result<u32, String> {
    let bytes = size(text)?;
    u32::try_from(bytes)
        .ok()
        .filter(|b| b.is_power_of_two() && *b >= samara_proto::ids::BLOCK_LEN)
        .ok_or_else(|| "a piece is a power of two of at least 16KiB, such as 256KiB or 4MiB".into())
}

/// Reads the announce URL of a tracker that can be asked.
pub(crate) fn tracker(text: &str) -> Result<TrackerUrl, String> {
    let url = TrackerUrl::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        Scheme::Ws | Scheme::Wss => Err("WebSocket trackers are for peers in browsers".into()),
        Scheme::Http | Scheme::Https | Scheme::Udp => Ok(url),
    }
}

/// Reads `90s`, `15m`, `2h`, `1d` or seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(format!("{unit:?} is not a unit of time: use s, m, h or d")),
    };
    let seconds = number.checked_mul(seconds).ok_or_else(|| format!("{text} is too long"))?;
    Ok(Duration::from_secs(seconds))
}

/// Reads a ratio: a number from 0.
pub(crate) fn ratio(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|r: &f64| r.is_finite() && *r >= 0.0)
        .ok_or_else(|| format!("{text:?} is not a ratio, such as 1.5"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        assert_eq!(size("16KiB"), Ok(16 << 10));
        assert_eq!(size("4MiB"), Ok(4 << 20));
        assert_eq!(size("4 m"), Ok(4 << 20));
        assert_eq!(size("1gib"), Ok(1 << 30));
        assert_eq!(size("12345"), Ok(12345));
        for bad in ["", "KiB", "1.5MiB", "-1", "1kB", "99999999999TiB", "18446744073709551616"] {
            assert!(size(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate("2MiB/s"), Ok(2 << 20));
        assert_eq!(rate("512k"), Ok(512 << 10));
        assert_eq!(rate(" 1 GiB/S "), Ok(1 << 30));
        assert_eq!(rate("12345"), Ok(12345));
        for bad in
            ["", "/s", "0", "0MiB/s", "2MB/s", "2Mbit/s", "1.5MiB/s", "2MiB/m", "-1", "2MiB/s/s", "fast"]
        {
            assert!(rate(bad).is_err(), "{bad:?} was taken");
        }
        assert!(rate("0KiB/s").unwrap_err().contains("no limit"));
    }

    #[test]
    fn piece_lengths() {
        assert_eq!(piece_length("16KiB"), Ok(16 << 10));
        assert_eq!(piece_length("65536"), Ok(65536));
        for bad in ["0", "8KiB", "48KiB", "8GiB", "1TiB"] {
            assert!(piece_length(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        for bad in ["", "h", "2 weeks", "-3s", "99999999999999999999d", "999999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn ratios() {
        assert_eq!(ratio("1.5"), Ok(1.5));
        for bad in ["", "x", "-1", "NaN", "inf"] {
            assert!(ratio(bad).is_err(), "{bad:?} was taken");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,24}") {
            let _ = (size(&text), rate(&text), duration(&text), ratio(&text), piece_length(&text));
        }
    }
}
