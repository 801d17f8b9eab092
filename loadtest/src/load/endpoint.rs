//! Where requests go, and connections to it.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A connection, TLS handshake included, is made within this or fails.
const CONNECT: Duration = Duration::from_secs(15);

/// A service behind a tunnel as a client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// Where to connect.
    pub(crate) addr: SocketAddr,
    /// How to do TLS, if at all.
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    authority: String,
    /// What stands before each path.
    prefix: String,
    /// Further header lines.
    fields: String,
}

impl Endpoint {
    /// An endpoint by its URL; `ca` signed its certificate, `fields` go with each request.
    ///
    /// # Errors
    /// When the URL is none, its host unknown, or `ca` no certificate.
    pub(crate) fn new(url: &str, ca: Option<&Path>, fields: &[String]) -> Result<Self> {
        let uri: http::Uri = url.parse().with_context(|| format!("'{url}' is no URL"))?;
        let host = uri.host().with_context(|| format!("'{url}' has no host"))?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => bail!("'{url}' must begin with http:// or https://"),
        };
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let bare = host.trim_matches(['[', ']']);
        let mut found = (bare, port)
            .to_socket_addrs()
            .with_context(|| format!("unknown host {bare}"))?;
        let tls = match https {
            true => Some((tls(ca)?, ServerName::try_from(bare.to_owned())?)),
            false => None,
        };
        Ok(Self {
            addr: found
                .next()
                .with_context(|| format!("{bare} has no address"))?,
            tls,
            authority: uri.authority().map(ToString::to_string).unwrap_or_default(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            fields: fields.iter().map(|field| format!("{field}\r\n")).collect(),
        })
    }

    /// A request's head; `more` are whole header lines.
    pub(crate) fn head(&self, method: &str, path: &str, more: &str) -> Vec<u8> {
        let Self {
            prefix,
            authority,
            fields,
            ..
        } = self;
        format!("{method} {prefix}{path} HTTP/1.1\r\nHost: {authority}\r\n{fields}{more}\r\n")
            .into_bytes()
    }

    /// A new connection.
    ///
    /// # Errors
    /// When there is none within 15 s.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let connect = async {
            let tcp = TcpStream::connect(self.addr).await?;
            tcp.set_nodelay(true)?;
            let Some((config, name)) = &self.tls else {
                return Ok(Connection::Plain(tcp));
            };
            let connector = TlsConnector::from(Arc::clone(config));
            let tls = connector.connect(name.clone(), tcp).await?;
            io::Result::Ok(Connection::Tls(Box::new(tls)))
        };
        let connected = timeout(CONNECT, connect).await;
        connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .with_context(|| format!("cannot connect to {}", self.addr))
    }
}

/// A TLS client that trusts one CA.
///
/// # Errors
/// Without one, or with a file that holds none.
pub(crate) fn tls(ca: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let Some(ca) = ca else {
        bail!("https needs --ca-file, the CA that signed the certificate");
    };
    let mut roots = RootCertStore::empty();
    for certificate in
        CertificateDer::pem_file_iter(ca).with_context(|| ca.display().to_string())?
    {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Bytes to and from an endpoint.
#[derive(Debug)]
pub(crate) enum Connection {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
