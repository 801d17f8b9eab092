//! A TLS connection to the gateway, directly or by a proxy, and what can be wrong with it.

mod proxy;
mod transport;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::config::PlatformConfig;
use crate::config::Period;
use crate::relay::tune;
use crate::tls;

pub(super) use proxy::{Proxy, Route, VARIABLES};
pub(super) use transport::Transport;

/// Why there is no connection, told apart by who has to act.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum DialError {
    /// Nobody answers, or the connection broke; it may pass.
    #[error("{0}")]
    Unreachable(String),
    /// The certificate does not convince.
    #[error(
        "the gateway's certificate is not trusted: {0}; set pipeops.ca_file to its CA, or check who answers"
    )]
    Certificate(String),
    /// The proxy on the way says no; the gateway was not reached.
    #[error("{0}")]
    Proxy(String),
    /// The gateway says no.
    #[error("the gateway refuses this agent: {0}")]
    Refused(String),
    /// Something of our own is missing.
    #[error("{0}")]
    Local(String),
}

/// Where the gateway is and how to prove who we are.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) route: Route,
    tls: Arc<ClientConfig>,
    name: ServerName<'static>,
    token: Token,
    timeout: Duration,
}

#[derive(Clone)]
enum Token {
    Value(SecretString),
    File(PathBuf),
}

/// How often a refused agent looks whether its token has been replaced.
const TOKEN_LOOK: Duration = Duration::from_secs(1);

/// Largest token file that is read, in bytes.
const MAX_TOKEN_FILE: u64 = 16 * 1024;

impl Dialer {
    /// Prepares to dial.
    ///
    /// # Errors
    /// [`DialError::Local`] for a URL or CA file that is of no use.
    pub(super) fn new(config: &PlatformConfig) -> Result<Self, DialError> {
        let local = |reason: String| DialError::Local(reason);
        let url = config.api_url.clone().unwrap_or_default();
        let uri: Uri = url
            .parse()
            .map_err(|error| local(format!("pipeops.api_url '{url}': {error}")))?;
        let host = uri
            .host()
            .ok_or_else(|| local(format!("pipeops.api_url '{url}' names no host")))?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host.clone())
            .map_err(|error| local(format!("pipeops.api_url '{url}': {error}")))?;
        let token = match (&config.token, &config.token_file) {
            (Some(token), _) => Token::Value(token.expose().into()),
            (None, Some(path)) => Token::File(path.clone()),
            (None, None) => return Err(local("no token is configured".to_owned())),
        };
        let tls = Arc::new(client_config(config.ca_file.as_deref(), &[b"http/1.1"])?);
        let port = uri.port_u16().unwrap_or(443);
        let variable = |name: &str| std::env::var(name).ok();
        let route = Route::find(&config.proxy, &place(&host, port), port, variable)?;
        Ok(Self {
            host,
            port,
            route,
            tls,
            name,
            token,
            timeout: config.timeout.0,
        })
    }

    /// The `Host` of requests to the gateway.
    pub(super) fn authority(&self) -> String {
        let place = self.place();
        place.strip_suffix(":443").unwrap_or(&place).to_owned()
    }

    /// How long each step of connecting may take: the name and TCP, TLS, and each answer.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The token, as it is now.
    pub(super) fn token(&self) -> Result<SecretString, DialError> {
        match &self.token {
            Token::Value(token) => Ok(token.clone()),
            Token::File(path) => read_secret(path),
        }
    }

    /// Resolves when the token is another than the one that was used; never, where it is in no file.
    pub(super) async fn token_replaced(&self, used: Option<&SecretString>) {
        let used = used.map(ExposeSecret::expose_secret);
        let mut looks = interval(TOKEN_LOOK);
        loop {
            looks.tick().await;
            // One that can not be read, or is no better than before, is none to try again with.
            if let (Token::File(_), Ok(now)) = (&self.token, self.token())
                && Some(now.expose_secret()) != used
            {
                return;
            }
        }
    }

    /// The proxy on the way, if there is one. Only TCP passes it.
    pub(super) fn proxy(&self) -> Option<&Proxy> {
        match &self.route {
            Route::Proxied(proxy) => Some(proxy),
            Route::Direct | Route::Excepted(_) => None,
        }
    }

    /// Where the first connection leads: to the proxy, or to the gateway.
    pub(super) fn hop(&self) -> (&str, u16) {
        match self.proxy() {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&self.host, self.port),
        }
    }

    /// Connects and does the TLS handshake.
    pub(super) async fn connect(&self) -> Result<TlsStream<Transport>, DialError> {
        let whom = match self.proxy() {
            Some(proxy) => format!("the proxy {proxy}"),
            None => self.place(),
        };
        let connect = TcpStream::connect(self.hop());
        let stream = match timeout(self.timeout, connect).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let why = format!("can not connect to {whom}: {error}");
                return Err(DialError::Unreachable(why));
            }
            Err(_) => {
                let limit = Period(self.timeout);
                let why = format!("{whom} does not answer within {limit}");
                return Err(DialError::Unreachable(why));
            }
        };
        let transport = self.lead(stream).await?;
        self.handshake(transport, Arc::clone(&self.tls)).await
    }

    /// Makes of a connection to the gateway, or to the proxy, one that leads to the gateway.
    pub(super) async fn lead(&self, stream: TcpStream) -> Result<Transport, DialError> {
        if let Err(error) = tune(&stream) {
            tracing::debug!(%error, "can not set a socket's options");
        }
        match self.proxy() {
            Some(proxy) => proxy.lead(stream, &self.place(), self.timeout).await,
            None => Ok(Transport::Tcp(stream)),
        }
    }

    /// Does the TLS handshake, by this configuration or by [`Dialer::tls`].
    pub(super) async fn handshake(
        &self,
        transport: Transport,
        tls: Arc<ClientConfig>,
    ) -> Result<TlsStream<Transport>, DialError> {
        let place = self.place();
        let handshake = secure(transport, self.name.clone(), tls, &place);
        timeout(self.timeout, handshake).await.unwrap_or_else(|_| {
            let limit = Period(self.timeout);
            let why = format!("TLS handshake with {place} timed out after {limit}");
            Err(DialError::Unreachable(why))
        })
    }

    /// Whom the gateway has to convince us to be, and how.
    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// Host and port, as in errors.
    pub(super) fn place(&self) -> String {
        place(&self.host, self.port)
    }
}

/// Host and port in one, with an IPv6 address in brackets.
pub(super) fn place(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Does a TLS handshake with `whom`.
async fn secure<T>(
    io: T,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    whom: &str,
) -> Result<TlsStream<T>, DialError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = TlsConnector::from(tls).connect(name, io).await;
    handshake.map_err(|error| tls_error(whom, &error))
}

fn tls_error(place: &str, error: &io::Error) -> DialError {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            DialError::Certificate(error.to_string())
        }
        _ => DialError::Unreachable(format!("TLS handshake with {place} failed: {error}")),
    }
}

/// Reads a file with one secret in it.
pub(super) fn read_secret(path: &Path) -> Result<SecretString, DialError> {
    let failed = |reason: String| DialError::Local(format!("{}: {reason}", path.display()));
    let size = std::fs::metadata(path)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if size > MAX_TOKEN_FILE {
        return Err(failed(format!("{size} bytes are too many for a token")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let text = SecretString::from(text);
    match text.expose_secret().trim() {
        "" => Err(failed("is empty".to_owned())),
        token => Ok(SecretString::from(token)),
    }
}

/// A TLS client that trusts one CA file, or what the system trusts.
pub(super) fn client_config(
    ca_file: Option<&Path>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, DialError> {
    tls::client_config(ca_file, alpn).map_err(|error| DialError::Local(error.to_string()))
}
