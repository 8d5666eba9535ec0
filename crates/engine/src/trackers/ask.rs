//! One question, one answer: an announce or a scrape, over HTTP, HTTPS or UDP, to a tracker's addresses of one family.
//!
//! Every address is judged by [`reach`](samara_proto::tracker::reach) at the moment it is used, and so are redirects and the peers that are given.
//! Specs: BEP 3, 7 (each family is asked by itself, with one key), 15, 23, 24, 31, 41, 48; HTTP answers may be packed
//! (gzip).
//!
//! It refuses to ask twice, to wait and to choose: when to ask whom is for the announcer. WebSocket trackers are for
//! peers in browsers. Tested in `tests/asker.rs`, against a tracker made for it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use samara_proto::http::Url;
use samara_proto::ids::WireHash;
use samara_proto::tracker::http::{MAX_BODY, Malformed, parse_announce, parse_scrape};
use samara_proto::tracker::http_query::{announce_url, scrape_url};
use samara_proto::tracker::reach::{Policy, Refused, Source, keep_peers, may_ask};
use samara_proto::tracker::udp::MAX_SCRAPE;
use samara_proto::tracker::{
    AnnounceRequest, AnnounceResponse, Failure, Family, Scheme, ScrapeStats, TrackerUrl, udp_client,
};

use super::udp::Udp;
use crate::net::here::Here;
use crate::net::http::{self, FetchError, Gate, Http};
use crate::net::resolve::{ResolveError, Resolver};
use crate::web::AGENT;

/// How long an HTTP tracker may take, redirects and all: busy ones take several seconds.
const HTTP_TIME: Duration = Duration::from_secs(30);

/// Most addresses of a UDP tracker that are asked one after the other.
const MAX_TRIED: usize = 3;

/// A question to a tracker.
#[derive(Clone, Debug)]
pub struct Question {
    /// The tracker's announce URL, for a scrape too.
    pub url: Arc<TrackerUrl>,
    /// Who named it.
    pub source: Source,
    /// Which of its addresses are asked.
    pub family: Family,
    /// What is asked.
    pub what: What,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum What {
    /// To be told peers, and told of to others.
    Announce {
        /// About whom and what.
        request: Box<AnnounceRequest>,
        /// What the tracker gave the last time to be sent back.
        tracker_id: Option<Box<[u8]>>,
    },
    /// The sizes of these swarms; of more than [`MAX_SCRAPE`] the first.
    Scrape(Box<[WireHash]>),
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The address that answered.
    pub from: IpAddr,
    /// Peers that were left out, for the tracker may not lead us to them.
    pub refused: usize,
    /// The answer, of the kind of the question.
    pub answer: Answer,
}

/// An answer of a tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To an announce.
    Announce(Box<AnnounceResponse>),
    /// To a scrape; perhaps not of all.
    Scrape(Vec<(WireHash, ScrapeStats)>),
}

/// Why there is no answer. Worded to follow the tracker's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// The tracker's own words.
    #[error("{}", .0.reason)]
    Refused(Failure),
    /// It has none of the family asked for, which is no fault.
    #[error("it has no {0} address")]
    NoAddress(&'static str),
    /// It may not be asked.
    #[error(transparent)]
    Forbidden(#[from] Refused),
    /// Nothing came back in time.
    #[error("no answer")]
    Silent,
    /// This machine has no way to it, as when it has no IPv6.
    #[error("it cannot be reached from here")]
    Unreachable,
    /// Anything else, in words.
    #[error("{0}")]
    Failed(String),
    /// It answered, with nothing of use: an HTTP status, or what no tracker says.
    #[error("{0}")]
    Useless(String),
}

/// Asks trackers. Any number at once; needs a tokio runtime.
#[derive(Debug)]
pub struct Asker {
    resolver: Resolver,
    http: Http,
    udp: Udp,
    policy: Policy,
}

impl Asker {
    /// One that goes where `policy` lets it, calls from the addresses listened on, and asks UDP trackers as `udp` says.
    pub fn new(listening: &[SocketAddr], policy: Policy, udp: udp_client::Config) -> Self {
        let (resolver, here) = (Resolver::default(), Here::new(listening));
        let http = Http::new(resolver.clone(), here.clone(), AGENT);
        Self { resolver, http, udp: Udp::new(here, udp), policy }
    }

    /// Asks once. Takes up to half a minute over HTTP; over UDP what its configuration leads to, for each address.
    ///
    /// # Errors
    /// If no answer comes, or a refusal.
    pub async fn ask(&self, question: &Question) -> Result<Told, AskError> {
        let mut told = match question.url.scheme() {
            Scheme::Udp => self.ask_udp(question).await?,
            Scheme::Http | Scheme::Https => self.ask_http(question).await?,
            Scheme::Ws | Scheme::Wss => {
                return Err(AskError::Failed("WebSocket trackers are for peers in browsers".into()));
            }
        };
        if let Answer::Announce(answer) = &mut told.answer {
            told.refused = keep_peers(&mut answer.peers, told.from, self.policy);
        }
        Ok(told)
    }

    /// Waits until the sockets are closed. Whoever asks from now on gets them anew.
    pub(crate) async fn close(&self) {
        self.udp.close().await;
    }

    async fn ask_http(&self, question: &Question) -> Result<Told, AskError> {
        let url = http_url(question)?;
        let url = Url::parse(&url).map_err(|error| AskError::Failed(error.to_string()))?;
        let ask = http::Ask { url: &url, family: Some(question.family), max: MAX_BODY, time: HTTP_TIME };
        let gate = Gate { named: Some(&question.url), source: question.source, policy: self.policy };
        let fetched = self.http.fetch(ask, gate).await.map_err(|error| explain(error, question.family))?;
        match read_http(&question.what, &fetched.body) {
            Ok(answer) => {
                Ok(Told { from: fetched.from, refused: 0, answer: answer.map_err(AskError::Refused)? })
            }
            // Some say why in an answer that is no success, so that it is read first.
            Err(_) if fetched.status != 200 => {
                Err(AskError::Useless(format!("the server answers with status {}", fetched.status)))
            }
            Err(error) => Err(AskError::Useless(error.to_string())),
        }
    }

    /// Asks address by address.
    async fn ask_udp(&self, question: &Question) -> Result<Told, AskError> {
        let found = self.resolver.lookup(question.url.host()).await?;
        let mut why = AskError::NoAddress(name(question.family));
        let fitting = found.iter().filter(|ip| Family::of(**ip) == question.family);
        for &ip in fitting.take(MAX_TRIED) {
            if let Err(refused) = may_ask(&question.url, question.source, ip, self.policy) {
                why = refused.into();
                continue;
            }
            match self.udp.ask(SocketAddr::new(ip, question.url.port()), udp_ask(question)).await {
                Ok(answer) => {
                    return Ok(Told { from: ip, refused: 0, answer: udp_answer(&question.what, answer) });
                }
                Err(udp_client::AskError::Refused(reason)) => {
                    return Err(AskError::Refused(Failure { reason, retry: None }));
                }
                Err(error) => why = error.into(),
            }
        }
        Err(why)
    }
}

/// For people.
const fn name(family: Family) -> &'static str {
    match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    }
}

fn http_url(question: &Question) -> Result<String, AskError> {
    match &question.what {
        What::Announce { request, tracker_id } => {
            Ok(announce_url(&question.url, request, tracker_id.as_deref()))
        }
        What::Scrape(hashes) => scrape_url(&question.url, &hashes[..hashes.len().min(MAX_SCRAPE)])
            .ok_or_else(|| AskError::Failed("its URL has no counterpart for scrapes".into())),
    }
}

fn read_http(what: &What, body: &[u8]) -> Result<Result<Answer, Failure>, Malformed> {
    Ok(match what {
        What::Announce { .. } => parse_announce(body)?.map(|answer| Answer::Announce(Box::new(answer))),
        What::Scrape(asked) => parse_scrape(body)?.map(|mut found| {
            found.retain(|(hash, _)| asked.contains(hash));
            Answer::Scrape(found)
        }),
    })
}

fn udp_ask(question: &Question) -> udp_client::Ask {
    match &question.what {
        What::Announce { request, .. } => udp_client::Ask::Announce {
            request: request.clone(),
            url_data: question.url.path_and_query().into(),
        },
        What::Scrape(hashes) => udp_client::Ask::Scrape(hashes.clone()),
    }
}

fn udp_answer(what: &What, answer: udp_client::Answer) -> Answer {
    match (answer, what) {
        (udp_client::Answer::Announce(answer), _) => Answer::Announce(Box::new(answer)),
        (udp_client::Answer::Scrape(stats), What::Scrape(asked)) => {
            Answer::Scrape(asked.iter().copied().zip(stats).collect())
        }
        // The machine answers in kind.
        (udp_client::Answer::Scrape(_), What::Announce { .. }) => Answer::Scrape(Vec::new()),
    }
}

fn explain(error: FetchError, family: Family) -> AskError {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, NetworkUnreachable};
    match error {
        FetchError::NoAddress => AskError::NoAddress(name(family)),
        FetchError::Forbidden(refused) => refused.into(),
        FetchError::TimedOut => AskError::Silent,
        FetchError::Connect(error)
            if matches!(error.kind(), AddrNotAvailable | HostUnreachable | NetworkUnreachable) =>
        {
            AskError::Unreachable
        }
        FetchError::Answer(error) => AskError::Useless(error.to_string()),
        other => AskError::Failed(other.to_string()),
    }
}

impl From<ResolveError> for AskError {
    fn from(error: ResolveError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<udp_client::AskError> for AskError {
    fn from(error: udp_client::AskError) -> Self {
        match error {
            udp_client::AskError::Silent => Self::Silent,
            udp_client::AskError::Unreachable => Self::Unreachable,
            other => Self::Failed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use samara_proto::ids::PeerId;
    use samara_proto::tracker::announcer::Identity;
    use samara_proto::tracker::fleet;

    use super::*;

    #[test]
    fn the_fleet_waits_until_all_addresses_were_silent() {
        let udp = udp_client::Config::default();
        let tries =
            (0..u32::from(udp.tries) - 1).map(|n| udp.timeout * (1 << n)).sum::<Duration>() + udp.timeout;
        assert_eq!(tries, Duration::from_secs(120));
        let who = Identity { peer_id: PeerId([0; 20]), v4: None, v6: None };
        let patience = fleet::Config::new(who).patience;
        assert!(patience > tries * MAX_TRIED as u32 && patience > HTTP_TIME);
    }
}
