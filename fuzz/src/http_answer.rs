//! An answer fed in any split is the answer fed whole, and no larger than asked for; an address that is taken is printed,
//! read back the same, and asked for in one clean request.

use samara_proto::http::{AnswerError, MAX_URL_LEN, Reader, Response, Url, get};
use samara_proto::rng::Rng;

use super::input::Input;

/// Lines of a request.
const LINES: usize = 7;

/// Runs one input: where to split, the largest body, and the answer, which is tried as an address too.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (seed, max) = (input.long(), usize::from(input.short()));
    let whole = feed(max, [input.0]);
    let mut rng = Rng::new(seed);
    let mut rest = input.0;
    let parts = std::iter::from_fn(|| {
        let (part, later) = rest.split_at((1 + rng.index(40)).min(rest.len()));
        rest = later;
        (!part.is_empty()).then_some(part)
    });
    assert_eq!(feed(max, parts), whole);
    if let Ok(response) = &whole {
        assert!(response.body.len() <= max && (200..600).contains(&response.status));
        address(response.location.as_deref().unwrap_or_default());
    }
    address(&String::from_utf8_lossy(input.0));
}

fn feed<'a>(max: usize, parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Response, AnswerError> {
    let mut reader = Reader::new(max);
    for part in parts {
        if reader.push(part)? {
            break;
        }
    }
    reader.finish()
}

fn address(text: &str) {
    let base = Url::parse("http://base/a/b?c").expect("it is one");
    for url in [Url::parse(text), base.join(text)].into_iter().flatten() {
        // Escaping makes it longer.
        let printed = url.to_string();
        assert!(printed.len() > MAX_URL_LEN || Url::parse(&printed) == Ok(url.clone()), "{printed}");
        let request = String::from_utf8(get(&url, "x")).expect("it is ASCII");
        assert_eq!(request.matches('\n').count(), LINES);
        assert_eq!(request.lines().next().map(|line| line.split(' ').count()), Some(3));
    }
}
