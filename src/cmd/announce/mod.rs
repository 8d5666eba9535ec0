//! `samara announce`: asks trackers about one torrent, and prints what they say.
//!
//! It announces as somebody who wants everything and has nothing, for trackers tell others nothing, under an identity
//! and a port that nobody answers at; so whoever answered is told at once that we left.

mod report;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use samara_engine::trackers::{self, Asker, Question, What};
use samara_proto::ids::{PeerId, WireHash};
use samara_proto::tracker::reach::Source as Namer;
use samara_proto::tracker::{AnnounceRequest, Event, Family, TrackerUrl, udp_client};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use self::report::{Answer, Report};
use crate::args::Announce;
use crate::exit::{Exit, Outcome, usage};
use crate::signal::Interrupt;
use crate::source::Source;
use crate::ui::Ui;

/// Less patient than BEP 15, for somebody waits: 4 + 8 + 4 seconds.
const UDP: udp_client::Config = udp_client::Config { timeout: Duration::from_secs(4), tries: 3, asks: 4096 };

/// How long it may take to take leave of all.
const FAREWELL: Duration = Duration::from_secs(3);

/// Trackers that are asked at once; a link may name thousands.
const AT_ONCE: usize = 64;

/// Peers wanted from each: as many as trackers commonly give.
const NUM_WANT: u32 = 200;

/// A tracker, or what was said to be one.
struct Named {
    text: String,
    url: Result<Arc<TrackerUrl>, String>,
    source: Namer,
}

/// What is the same for all trackers.
struct Subject {
    asker: Asker,
    request: AnnounceRequest,
    hashes: Vec<WireHash>,
    scrape: bool,
    places: Semaphore,
    /// Who counts us as a peer.
    known: Mutex<Vec<Question>>,
}

/// Asks all trackers, and prints their answers in the order in which they are named.
pub(crate) async fn run(args: Announce, ui: &Ui) -> Outcome {
    let source = Source::read_or_fetch(&args.source).await?;
    let named = named(&args, &source);
    if named.is_empty() {
        return Err(usage(format!("{} names no tracker: name one with --tracker URL", args.source)));
    }
    let mut interrupt = Interrupt::install()?;
    let subject = Arc::new(Subject::new(&args, &source)?);
    let asked: Vec<_> = named.into_iter().map(|named| ask(&subject, named)).collect();
    let outcome = tokio::select! {
        outcome = print_all(asked, ui) => outcome,
        () = interrupt.wait() => Ok(Exit::Interrupted),
    };
    let _ = tokio::time::timeout(FAREWELL, leave(&subject)).await;
    outcome
}

/// Those of the source and those of the command line, each once.
fn named(args: &Announce, source: &Source) -> Vec<Named> {
    let linked = source.trackers().into_iter().map(|text| {
        let url = TrackerUrl::parse(&text).map(Arc::new).map_err(|error| error.to_string());
        Named { text, url, source: Namer::Torrent }
    });
    let own = args.trackers.iter();
    let own =
        own.map(|url| Named { text: url.to_string(), url: Ok(Arc::new(url.clone())), source: Namer::User });
    let mut seen = HashSet::new();
    // What the user names counts as the user's, even if the torrent names it too.
    own.chain(linked).filter(|named| seen.insert(named.text.clone())).collect()
}

async fn print_all(asked: Vec<JoinHandle<Report>>, ui: &Ui) -> Outcome {
    let mut answered = false;
    for report in asked {
        let report = report.await.context("asking a tracker failed")?;
        answered |= report.ok;
        report.print(ui)?;
    }
    Ok(if answered { Exit::Done } else { Exit::NotCompleted })
}

/// Asks one tracker in the background.
fn ask(subject: &Arc<Subject>, named: Named) -> JoinHandle<Report> {
    let subject = Arc::clone(subject);
    tokio::spawn(async move {
        let _place = subject.places.acquire().await;
        let answers = match named.url {
            Ok(url) => ask_each(&subject, subject.questions(&url, named.source)).await,
            Err(why) => vec![Answer::unusable(why)],
        };
        Report::new(subject.scrape, named.text, answers)
    })
}

/// Side by side; the answers in the order of the questions.
async fn ask_each(subject: &Arc<Subject>, questions: Vec<Question>) -> Vec<Answer> {
    let ask = |question| {
        let subject = Arc::clone(subject);
        tokio::spawn(async move { subject.ask(question).await })
    };
    let asked: Vec<_> = questions.into_iter().map(ask).collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.extend(answer.await);
    }
    answers
}

impl Subject {
    fn new(args: &Announce, source: &Source) -> Result<Self> {
        let mut random = [0; 18];
        getrandom::fill(&mut random).context("the system gives no random numbers")?;
        let [a, b, c, d, high, low, id @ ..] = random;
        let mut peer_id = *b"-SA0100-............";
        peer_id[8..].copy_from_slice(&id);
        let hashes = source.hashes();
        let names = hashes.v1().map(|hash| WireHash(hash.0)).into_iter();
        let names = names.chain(hashes.v2().map(|hash| hash.truncated())).collect();
        let request = AnnounceRequest {
            info_hash: hashes.primary(),
            peer_id: PeerId(peer_id),
            // Of the ports for private use (RFC 6335).
            port: 49_152 + u16::from_be_bytes([high, low]) % 16_384,
            uploaded: 0,
            downloaded: 0,
            left: source.size().unwrap_or(1).max(1),
            event: Event::Started,
            numwant: Some(NUM_WANT),
            key: u32::from_be_bytes([a, b, c, d]),
            ip: None,
        };
        Ok(Self {
            asker: Asker::new(&[], args.reach.policy(), UDP),
            request,
            hashes: names,
            scrape: args.scrape,
            places: Semaphore::new(AT_ONCE),
            known: Mutex::default(),
        })
    }

    /// Over both families, about each hash unless one question does for all.
    fn questions(&self, url: &Arc<TrackerUrl>, source: Namer) -> Vec<Question> {
        let what: Vec<_> = if self.scrape {
            vec![What::Scrape(self.hashes.as_slice().into())]
        } else {
            let about = |hash: &WireHash| AnnounceRequest { info_hash: *hash, ..self.request };
            self.hashes.iter().map(|hash| announce(about(hash))).collect()
        };
        let over = |family| {
            let question = move |what| Question { url: Arc::clone(url), source, family, what };
            what.clone().into_iter().map(question)
        };
        [Family::V4, Family::V6].into_iter().flat_map(over).collect()
    }

    async fn ask(&self, mut question: Question) -> Answer {
        let told = self.asker.ask(&question).await;
        let answer = Answer::new(&question, &told);
        if let (What::Announce { tracker_id, .. }, Ok(told)) = (&mut question.what, told) {
            if let trackers::Answer::Announce(said) = told.answer {
                *tracker_id = said.tracker_id;
            }
            self.known.lock().unwrap_or_else(PoisonError::into_inner).push(question);
        }
        answer
    }
}

fn announce(request: AnnounceRequest) -> What {
    What::Announce { request: Box::new(request), tracker_id: None }
}

/// Tells everybody who counts us as a peer that we are none.
async fn leave(subject: &Arc<Subject>) {
    let known = std::mem::take(&mut *subject.known.lock().unwrap_or_else(PoisonError::into_inner));
    let mut leaving = JoinSet::new();
    for mut question in known {
        if let What::Announce { request, .. } = &mut question.what {
            request.event = Event::Stopped;
            request.numwant = Some(0);
        }
        let subject = Arc::clone(subject);
        leaving.spawn(async move { drop(subject.asker.ask(&question).await) });
    }
    while leaving.join_next().await.is_some() {}
}
