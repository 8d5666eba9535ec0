use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::*;

const MAX: usize = 10_000;

/// A user's own wish.
const GATE: Gate<'_> = Gate { named: None, source: Source::User, policy: Policy { inside: false } };

fn http() -> Http {
    Http::new(Resolver::default(), Here::default(), "Samara/test")
}

/// Answers connections one after the other, then ends; gives the requests.
async fn serve(answers: Vec<String>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(answer_one(&mut stream, answer.as_bytes()).await);
        }
        requests
    });
    (addr, task)
}

async fn answer_one<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, answer: &[u8]) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    String::from_utf8(request).unwrap()
}

async fn fetch(http: &Http, url: &str, gate: Gate<'_>) -> Result<Fetched, FetchError> {
    let ask = Ask { url: &Url::parse(url).unwrap(), family: None, max: MAX, time: Duration::from_secs(20) };
    http.fetch(ask, gate).await
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn to(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n")
}

#[tokio::test]
async fn what_is_there_is_fetched_from_the_address_that_we_listen_on() {
    let (addr, server) = serve(vec![ok("hello")]).await;
    let here = Here::new(&["127.0.0.3:1".parse().unwrap()]);
    let http = Http { here, ..http() };
    let fetched = fetch(&http, &format!("http://{addr}/x?y"), GATE).await.unwrap();
    assert_eq!((fetched.status, fetched.body.as_slice(), fetched.from), (200, &b"hello"[..], addr.ip()));
    let request = server.await.unwrap().remove(0);
    assert!(request.starts_with("GET /x?y HTTP/1.1\r\n") && request.contains("User-Agent: Samara/test\r\n"));
}

#[tokio::test]
async fn redirects_are_followed_so_far() {
    let (addr, server) = serve(vec![to("/a"), to("b?c"), ok("end")]).await;
    let fetched = fetch(&http(), &format!("http://{addr}/x/y"), GATE).await.unwrap();
    assert_eq!(fetched.body, b"end");
    let paths: Vec<_> =
        server.await.unwrap().iter().map(|r| r[4..r.find(" HTTP").unwrap()].to_owned()).collect();
    assert_eq!(paths, ["/x/y", "/a", "/b?c"]);

    let (addr, _) = serve(vec![to("/"); 9]).await;
    let error = fetch(&http(), &format!("http://{addr}/"), GATE).await.unwrap_err();
    assert!(matches!(error, FetchError::Redirects), "{error}");
}

#[tokio::test]
async fn what_the_gate_refuses_is_not_called() {
    let target = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    target.set_nonblocking(true).unwrap();
    let gate = Gate { source: Source::Torrent, ..GATE };
    let inside = format!("http://{}/reboot", target.local_addr().unwrap());
    let error = fetch(&http(), &inside, gate).await.unwrap_err();
    assert!(matches!(error, FetchError::Forbidden(Refused::Inside(_))), "{error}");
    // As if the redirect came from outside: nobody here has a public address.
    let url = Url::parse(&inside).unwrap();
    let from = (Url::parse("http://tracker.example/announce").unwrap(), IpAddr::from([203, 0, 113, 1]));
    let error = http().connect(&url, Some(&from), None, GATE).await.unwrap_err();
    assert!(matches!(error, FetchError::Forbidden(Refused::Inwards(_))), "{error}");
    assert!(target.accept().is_err(), "it was called");
    let from = (from.0, IpAddr::from([127, 0, 0, 1]));
    assert!(http().connect(&url, Some(&from), None, GATE).await.is_ok());
}

#[tokio::test]
async fn failures_have_names() {
    let http = http();
    let (addr, _) = serve(vec![to("ftp://x/")]).await;
    let error = fetch(&http, &format!("http://{addr}/"), GATE).await.unwrap_err();
    assert!(matches!(error, FetchError::BadRedirect(BadUrl::Scheme)), "{error}");

    let (addr, _) = serve(vec![ok(&"x".repeat(MAX + 1))]).await;
    let error = fetch(&http, &format!("http://{addr}/"), GATE).await.unwrap_err();
    assert!(matches!(error, FetchError::Answer(AnswerError::TooLarge)), "{error}");

    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = fetch(&http, &format!("http://{free}/"), GATE).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect(_)), "{error}");

    let url = Url::parse(&format!("http://{free}/")).unwrap();
    let ask = Ask { url: &url, family: Some(Family::V6), max: MAX, time: Duration::from_secs(9) };
    let error = http.fetch(ask, GATE).await.unwrap_err();
    assert!(matches!(error, FetchError::NoAddress), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let error = fetch(&http(), &url, GATE).await.unwrap_err();
    assert!(matches!(error, FetchError::TimedOut), "{error}");
}

/// A server with a certificate for `name`; what believes it.
async fn serve_tls(name: &str) -> (SocketAddr, RootCertStore) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = builder.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                answer_one(&mut stream, ok("secret").as_bytes()).await;
            }
        }
    });
    (addr, roots)
}

#[tokio::test]
async fn certificates_are_checked_and_what_is_wrong_is_said() {
    let (addr, roots) = serve_tls("127.0.0.1").await;
    let believes = Http { tls: Tls::with_roots(roots), ..http() };
    let url = format!("https://{addr}/");
    assert_eq!(fetch(&believes, &url, GATE).await.unwrap().body, b"secret");

    let doubts = Http { tls: Tls::with_roots(RootCertStore::empty()), ..http() };
    let error = fetch(&doubts, &url, GATE).await.unwrap_err().to_string();
    assert!(error.contains("signed by nobody whom this machine trusts"), "{error}");

    let (other, roots) = serve_tls("tracker.example").await;
    let believes = Http { tls: Tls::with_roots(roots), ..http() };
    let error = fetch(&believes, &format!("https://{other}/"), GATE).await.unwrap_err().to_string();
    assert!(error.contains("is for another name"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    let impatient = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 What?\r\n\r\n").await.unwrap();
        let _ = stream.read_u8().await;
    });
    let error = fetch(&believes, &format!("https://{plain}/"), GATE).await.unwrap_err().to_string();
    assert!(error.contains("http:// instead"), "{error}");
    impatient.await.unwrap();
}
