//! Fetching a `.torrent` that a user named by its address on the web.
//!
//! It refuses to be redirected further inside than the address that redirects ([`samara_proto::tracker::reach`]), more
//! than five redirects, invalid certificates, and what is larger than asked for. Tested through the binary, and below it
//! in `net/http`.

use std::time::Duration;

use samara_proto::http::{BadUrl, Url};
use samara_proto::tracker::reach::{Policy, Source};

use crate::net::here::Here;
use crate::net::http::{Ask, FetchError, Gate, Http};
use crate::net::resolve::Resolver;

/// How long it may take in all.
const TIME: Duration = Duration::from_secs(120);

/// The user may go anywhere; redirects lead no further inside.
const GATE: Gate<'_> = Gate { named: None, source: Source::User, policy: Policy { inside: false } };

/// What we call ourselves towards web servers and trackers.
pub(crate) const AGENT: &str = concat!("Samara/", env!("CARGO_PKG_VERSION"));

/// Why nothing was fetched. Worded to follow the address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// Not an `http` or `https` address that can be used.
    #[error(transparent)]
    Url(#[from] BadUrl),
    /// No answer, or none that can be used, in words.
    #[error("{0}")]
    Failed(String),
    /// The server has something else to say.
    #[error("the server answers with status {0}")]
    Status(u16),
}

/// Fetches at most `max` bytes from an `http` or `https` address, within two minutes. Must be called within a tokio runtime.
///
/// # Errors
/// If the address cannot be used, or no answer with status 200 comes.
pub async fn fetch(url: &str, max: usize) -> Result<Vec<u8>, WebError> {
    let url = Url::parse(url)?;
    let http = Http::new(Resolver::default(), Here::default(), AGENT);
    let fetched = http.fetch(Ask { url: &url, family: None, max, time: TIME }, GATE).await;
    match fetched.map_err(|error: FetchError| WebError::Failed(error.to_string()))? {
        fetched if fetched.status == 200 => Ok(fetched.body),
        fetched => Err(WebError::Status(fetched.status)),
    }
}
