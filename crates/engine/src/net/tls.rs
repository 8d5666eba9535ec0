//! TLS as a client: whose certificates are believed, and why one is not, in words.
//!
//! Believed are the roots of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` name others), or where there are none those
//! of Mozilla that the program carries. They are read when they are first needed.
//!
//! It refuses to go on without a valid certificate: there is no switch for that. Tested in `http/tests.rs`.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

/// What TLS connections share: roots, and sessions to resume.
#[derive(Default)]
pub(crate) struct Tls(OnceLock<Option<Arc<ClientConfig>>>);

impl Tls {
    /// One that believes `roots` only.
    #[cfg(test)]
    pub(crate) fn with_roots(roots: RootCertStore) -> Self {
        Self(OnceLock::from(configure(roots)))
    }

    /// Shakes hands with `host` over a connection.
    ///
    /// # Errors
    /// If there is no valid certificate for `host`, or the connection breaks: see [`explain`].
    pub(crate) async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = match self.0.get() {
            Some(config) => config.clone(),
            // Reads files.
            None => tokio::task::spawn_blocking(|| configure(roots())).await.unwrap_or_default(),
        };
        let config = self.0.get_or_init(|| config).clone();
        let config = config.ok_or_else(|| io::Error::other("TLS cannot be set up"))?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(config).connect(name, stream).await
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.get().is_some() { "Tls" } else { "Tls(unused)" })
    }
}

fn configure(roots: RootCertStore) -> Option<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().ok()?;
    Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Those of the system; of Mozilla if it has none. Blocks.
fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let (believed, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if believed == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

/// Why there is no connection, for people.
pub(crate) fn explain(error: &io::Error) -> String {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return error.to_string();
    };
    match error {
        Error::InvalidCertificate(error) => why_invalid(error),
        Error::InvalidMessage(_) => "what answers there does not speak TLS: is it http:// instead?".into(),
        Error::AlertReceived(alert) => format!("the server refuses the TLS connection ({alert:?})"),
        other => format!("TLS fails: {other}"),
    }
}

fn why_invalid(error: &CertificateError) -> String {
    let why = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "has expired, or the clock of this machine is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet, or the clock of this machine is wrong"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "is for another name"
        }
        CertificateError::UnknownIssuer => {
            "is signed by nobody whom this machine trusts; if it should be trusted, name its root in SSL_CERT_FILE"
        }
        CertificateError::Revoked => "was revoked",
        other => return format!("its certificate is not valid ({other:?})"),
    };
    format!("its certificate {why}")
}
