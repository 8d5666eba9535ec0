//! Fetching small things over HTTP and HTTPS: one request a connection, redirects followed, everything within caps.
//!
//! The bytes are understood by [`samara_proto::http`]. Every address that is about to be connected to, the first one
//! and those behind redirects, is shown to a [`Gate`] at that moment: a name that stood for a public address when it
//! was judged cannot stand for a private one when it is used.
//!
//! It refuses proxies, cookies and passwords, more than [`MAX_REDIRECTS`] redirects, and certificates that are not valid.
//! Tested in `tests.rs` against servers made by hand.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use samara_proto::http::{AnswerError, BadUrl, Reader, Response, Url, get};
use samara_proto::tracker::reach::{Policy, Refused, Source, may_ask, may_redirect};
use samara_proto::tracker::{self, Family, TrackerUrl};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::here::Here;
use super::resolve::{ResolveError, Resolver};
use super::tls::{self, Tls};

/// Most redirects followed.
const MAX_REDIRECTS: usize = 5;

/// Most addresses of one host that are tried.
const MAX_TRIED: usize = 4;

/// How long one attempt to connect may take.
const CONNECT_TIME: Duration = Duration::from_secs(8);

/// Read at once.
const BUFFER: usize = 16 * 1024;

/// Who may lead us where: [`samara_proto::tracker::reach`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate<'a> {
    /// What was named, if more was added to it since: a tracker's URL without the announce.
    pub(crate) named: Option<&'a TrackerUrl>,
    /// Who named it.
    pub(crate) source: Source,
    pub(crate) policy: Policy,
}

impl Gate<'_> {
    /// Whether `url` may be asked at `ip`, to which `from` redirected if there is one.
    fn lets(self, from: Option<&(Url, IpAddr)>, url: &Url, ip: IpAddr) -> Result<(), FetchError> {
        match (from, self.named) {
            (None, Some(named)) => may_ask(named, self.source, ip, self.policy)?,
            (None, None) => may_ask(&TrackerUrl::parse(&url.to_string())?, self.source, ip, self.policy)?,
            (Some((from, origin)), _) => {
                let (from, to) =
                    (TrackerUrl::parse(&from.to_string())?, TrackerUrl::parse(&url.to_string())?);
                may_redirect(&from, *origin, &to, ip, self.policy)?;
            }
        }
        Ok(())
    }
}

/// One thing to fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    /// Only over this family.
    pub(crate) family: Option<Family>,
    /// The largest body, bytes.
    pub(crate) max: usize,
    /// For all of it.
    pub(crate) time: Duration,
}

/// What came.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Who sent it.
    pub(crate) from: IpAddr,
}

/// Why nothing came. Worded to follow a name: `tracker.example: it cannot be ..`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Nothing is wrong with it otherwise.
    #[error("it has no address of the family asked for")]
    NoAddress,
    #[error(transparent)]
    Forbidden(#[from] Refused),
    #[error(transparent)]
    Url(#[from] tracker::BadUrl),
    #[error("it cannot be connected to: {0}")]
    Connect(io::Error),
    #[error("{0}")]
    Tls(String),
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("it redirects to an address that cannot be used: {0}")]
    BadRedirect(#[from] BadUrl),
    #[error("it redirects more than {MAX_REDIRECTS} times")]
    Redirects,
    #[error("it did not answer in time")]
    TimedOut,
}

/// Fetches. Any number at once.
#[derive(Debug)]
pub(crate) struct Http {
    resolver: Resolver,
    here: Here,
    tls: Tls,
    agent: Box<str>,
}

impl Http {
    /// One that calls itself `agent`, from here.
    pub(crate) fn new(resolver: Resolver, here: Here, agent: &str) -> Self {
        Self { resolver, here, tls: Tls::default(), agent: agent.into() }
    }

    /// Fetches one thing; an answer of any status is one.
    ///
    /// # Errors
    /// If no answer came in time, within the caps, from an address that the gate lets.
    pub(crate) async fn fetch(&self, ask: Ask<'_>, gate: Gate<'_>) -> Result<Fetched, FetchError> {
        timeout(ask.time, self.follow(ask, gate)).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn follow(&self, ask: Ask<'_>, gate: Gate<'_>) -> Result<Fetched, FetchError> {
        let (mut url, mut from) = (ask.url.clone(), None::<(Url, IpAddr)>);
        for _ in 0..=MAX_REDIRECTS {
            let (response, ip) = self.once(&url, from.as_ref(), ask, gate).await?;
            match response.location.as_deref().filter(|_| response.is_redirect()) {
                None => return Ok(Fetched { status: response.status, body: response.body, from: ip }),
                Some(location) => {
                    let next = url.join(location)?;
                    from = Some((std::mem::replace(&mut url, next), ip));
                }
            }
        }
        Err(FetchError::Redirects)
    }

    /// Asks one server once.
    async fn once(
        &self,
        url: &Url,
        from: Option<&(Url, IpAddr)>,
        ask: Ask<'_>,
        gate: Gate<'_>,
    ) -> Result<(Response, IpAddr), FetchError> {
        let (stream, ip) = self.connect(url, from, ask.family, gate).await?;
        let request = get(url, &self.agent);
        let response = if url.is_secure() {
            let secured = self.tls.connect(url.host(), stream).await;
            converse(secured.map_err(|e| FetchError::Tls(tls::explain(&e)))?, &request, ask.max).await?
        } else {
            converse(stream, &request, ask.max).await?
        };
        Ok((response, ip))
    }

    /// Connects to the first address that takes it.
    async fn connect(
        &self,
        url: &Url,
        from: Option<&(Url, IpAddr)>,
        family: Option<Family>,
        gate: Gate<'_>,
    ) -> Result<(TcpStream, IpAddr), FetchError> {
        let mut why = FetchError::NoAddress;
        let found = self.resolver.lookup(url.host()).await?;
        let fitting = found.iter().filter(|ip| family.is_none_or(|family| family == Family::of(**ip)));
        for &ip in fitting.take(MAX_TRIED) {
            if let Err(refused) = gate.lets(from, url, ip) {
                why = refused;
                continue;
            }
            match timeout(CONNECT_TIME, dial(SocketAddr::new(ip, url.port()), self.here.towards(ip))).await {
                Ok(Ok(stream)) => return Ok((stream, ip)),
                Ok(Err(error)) => why = FetchError::Connect(error),
                Err(_) => why = FetchError::TimedOut,
            }
        }
        Err(why)
    }
}

async fn dial(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from, 0))?;
    }
    let stream = socket.connect(to).await?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Sends the request and reads the answer.
async fn converse<S>(mut stream: S, request: &[u8], max: usize) -> Result<Response, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request).await?;
    stream.flush().await?;
    let (mut reader, mut buffer) = (Reader::new(max), vec![0; BUFFER]);
    loop {
        let n = match stream.read(&mut buffer).await {
            // Servers that end TLS without saying so are many; the answer itself shows whether it is whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            n => n?,
        };
        if n == 0 || reader.push(&buffer[..n])? {
            return Ok(reader.finish()?);
        }
    }
}
