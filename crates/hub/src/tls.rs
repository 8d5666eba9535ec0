//! Certificates: read at the start and whenever they change, for connections that come from then on.
//!
//! TLS 1.2 and 1.3 by rustls with *ring*. Sessions are resumed by tickets under a key of this process, so nothing is kept
//! for a client that went. A certificate that does not fit its key, as while only one of both is renewed, is refused.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Config;
use crate::shared::Shared;
use crate::watch::{Watched, read_file};

/// Longest file of certificates or of a key.
const MAX_PEM: u64 = 1 << 20;

/// What new connections are greeted with.
pub(crate) type Greeting = Arc<Shared<ServerConfig>>;

/// Reads certificate and key, if they are set. The second part is for the watcher.
///
/// # Errors
/// If they cannot be read or do not belong together.
pub(crate) fn open(config: &Config) -> Result<Option<(Greeting, Watched)>, String> {
    let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    let greeting = Shared::new(load(cert, key)?);
    let (paths, into) = (vec![cert.clone(), key.clone()], Arc::clone(&greeting));
    let (cert, key) = (cert.clone(), key.clone());
    let watched = Watched::open(paths, move || {
        into.set(load(&cert, &key)?);
        Ok(String::from("the certificate is in use"))
    })?;
    Ok(Some((greeting, watched)))
}

fn load(cert: &Path, key: &Path) -> Result<ServerConfig, String> {
    let fault = |path: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let pem = read_file(cert, MAX_PEM)?;
    let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|e| fault(cert, &e))?;
    if chain.is_empty() {
        return Err(fault(cert, &"there is no certificate in it (PEM is expected)"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read_file(key, MAX_PEM)?).map_err(|e| fault(key, &e))?;
    let provider = Arc::new(ring::default_provider());
    let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|e| e.to_string())?.with_no_client_auth();
    let mut config = builder.with_single_cert(chain, private).map_err(|e| fault(cert, &e))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = ring::Ticketer::new().map_err(|e| e.to_string())?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Options;

    #[test]
    fn a_certificate_is_taken_with_its_key_and_with_no_other() {
        let dir = std::env::temp_dir().join(format!("samara-hub-tls-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let made = ["a", "b"].map(|name| rcgen::generate_simple_self_signed(vec![name.into()]).unwrap());
        let file = |name: &str, text: &str| {
            fs::write(dir.join(name), text).unwrap();
            Some(dir.join(name))
        };
        let https = Some(vec!["[::]:443".parse().unwrap()]);
        let mut options = Options {
            https,
            tls_cert: file("cert", &made[0].cert.pem()),
            tls_key: file("key", &made[0].signing_key.serialize_pem()),
            ..Options::default()
        };
        let opened =
            |options: &Options| open(&Config::new(options.clone()).unwrap()).map(|tls| tls.is_some());
        let right = opened(&options);
        options.tls_key = file("key", &made[1].signing_key.serialize_pem());
        let other_key = opened(&options);
        options.tls_key = file("key", "no key");
        let no_key = opened(&options);
        options.tls_cert = file("cert", "no certificate");
        let no_cert = opened(&options);
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!((right, opened(&Options::default())), (Ok(true), Ok(false)));
        assert!(other_key.unwrap_err().contains("cert: "));
        assert!(
            no_key.unwrap_err().contains("key: ") && no_cert.unwrap_err().contains("no certificate in it")
        );
    }
}
