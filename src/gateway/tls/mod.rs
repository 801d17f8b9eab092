//! The gateway's certificate: from files, read again when they change, or of our own making.

mod self_signed;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tokio::time::interval;

use super::config::GatewayConfig;
use super::hosts::Hosts;
use crate::wire::quic;

/// How often files are looked at; a renewed certificate is served this soon.
const LOOK: Duration = Duration::from_secs(5);

/// Protocols that the listener speaks, preferred first (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why there is no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can not be read or written.
    #[error("TLS: {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not PEM of the right kind.
    #[error("TLS: {} holds no usable {what}: {reason}", path.display())]
    Pem {
        /// Which file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
        /// The parser's words.
        reason: String,
    },
    /// Certificate and key do not go together, or the library refuses them.
    #[error("TLS: certificate and key are refused: {0}")]
    Refused(#[from] rustls::Error),
    /// Our own certificate could not be made.
    #[error("TLS: can not make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate chain and its key, PEM.
#[derive(PartialEq, Eq)]
struct Material {
    chain: Vec<u8>,
    key: Vec<u8>,
}

/// The certificate being served, replaced while connections come in.
#[derive(Debug)]
pub(super) struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
    loaded: Timestamp,
}

impl Certificate {
    /// From when until when it is valid; `None` where it can not be told.
    pub(super) fn validity(&self) -> Option<RangeInclusive<Timestamp>> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let (_, parsed) = x509_parser::parse_x509_certificate(current.cert.first()?).ok()?;
        let validity = parsed.validity();
        let from = Timestamp::from_second(validity.not_before.timestamp()).ok()?;
        let until = Timestamp::from_second(validity.not_after.timestamp()).ok()?;
        Some(from..=until)
    }

    /// When the first one was loaded.
    pub(super) fn loaded(&self) -> Timestamp {
        self.loaded
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

/// Where the certificate comes from.
pub(super) struct Source {
    config: GatewayConfig,
    names: Vec<String>,
}

impl Source {
    pub(super) fn new(config: &GatewayConfig, hosts: &Hosts) -> Self {
        let mut names = hosts.api().to_vec();
        names.push(format!("*.{}", config.domain));
        names.sort();
        names.dedup();
        Self {
            config: config.clone(),
            names,
        }
    }

    /// Makes the TLS configuration and the certificate in it.
    ///
    /// # Errors
    /// [`TlsError`] when there is nothing that can be served.
    pub(super) fn load(&self) -> Result<(Arc<ServerConfig>, Arc<Certificate>), TlsError> {
        let key = self.certified(&self.material()?)?;
        let certificate = Arc::new(Certificate {
            current: RwLock::new(Arc::new(key)),
            loaded: Timestamp::now(),
        });
        let config = server(&certificate, rustls::DEFAULT_VERSIONS, &ALPN)?;
        Ok((Arc::new(config), certificate))
    }

    /// Serves a certificate from then on whenever its files change; a bad one is named in the log
    /// and the old one stays.
    pub(super) async fn watch(self, certificate: Arc<Certificate>) {
        let mut last = self.material().ok();
        let mut ticks = interval(LOOK);
        loop {
            ticks.tick().await;
            if self.config.tls.self_signed {
                continue;
            }
            let next = self.material();
            if let (Ok(next), Some(last)) = (&next, &last)
                && next == last
            {
                continue;
            }
            match next.and_then(|next| Ok((self.certified(&next)?, next))) {
                Ok((key, next)) => {
                    *certificate
                        .current
                        .write()
                        .unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                    last = Some(next);
                    tracing::info!("certificate replaced");
                }
                Err(error) => {
                    tracing::error!(%error, "the certificate's files changed and can not be used; the old one is still served");
                }
            }
        }
    }

    fn material(&self) -> Result<Material, TlsError> {
        match (&self.config.tls.cert_file, &self.config.tls.key_file) {
            (Some(cert), Some(key)) => Ok(Material {
                chain: read(cert)?,
                key: read(key)?,
            }),
            _ => self_signed::issue(&self.config.state_dir, &self.names),
        }
    }

    fn certified(&self, material: &Material) -> Result<CertifiedKey, TlsError> {
        let cert_path = self.config.tls.cert_file.clone().unwrap_or_default();
        let key_path = self.config.tls.key_file.clone().unwrap_or_default();
        let bad = |path: PathBuf, what: &'static str| {
            move |error: rustls::pki_types::pem::Error| TlsError::Pem {
                path,
                what,
                reason: error.to_string(),
            }
        };
        let chain = CertificateDer::pem_slice_iter(&material.chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(bad(cert_path.clone(), "certificate"))?;
        if chain.is_empty() {
            return Err(bad(cert_path, "certificate")(
                rustls::pki_types::pem::Error::NoItemsFound,
            ));
        }
        let key =
            PrivateKeyDer::from_pem_slice(&material.key).map_err(bad(key_path, "private key"))?;
        let provider = rustls::crypto::ring::default_provider();
        Ok(CertifiedKey::from_der(chain, key, &provider)?)
    }
}

/// The TLS configuration of QUIC carriers, which serves the same certificate.
///
/// # Errors
/// [`TlsError::Refused`] when the library has no TLS 1.3.
pub(super) fn for_quic(certificate: &Arc<Certificate>) -> Result<ServerConfig, TlsError> {
    let mut config = server(certificate, &[&rustls::version::TLS13], &[quic::ALPN])?;
    // An agent that comes again has a new ticket and shows it in a new handshake: no resumption,
    // and so no 0-RTT.
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn server(
    certificate: &Arc<Certificate>,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let resolver: Arc<dyn ResolvesServerCert> = Arc::<Certificate>::clone(certificate);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}
