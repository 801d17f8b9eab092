//! A connection to a service by the gateway's public address.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::uri::Uri;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::ForwardArgs;
use crate::gateway::cli::CliError;
use crate::gateway::cli::kubeconfig::{check_token, read_token};
use crate::http::error;
use crate::relay::tune_end;
use crate::tls::{TrustError, client_config};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::limits::{CONNECT, FORWARD_OPEN, TLS_HANDSHAKE};
use crate::wire::raw::RawProtocol;

/// The variable that holds a token where no file is named.
const TOKEN_VARIABLE: &str = "PIPEOPS_TOKEN";

/// Bytes of an error that are read.
const MAX_ERROR: usize = 64 * 1024;

/// Why there is no forward, or no connection through it: whose fault, and what to do.
#[derive(Debug, Error)]
pub enum ForwardError {
    /// The token can't be used.
    #[error(transparent)]
    Token(#[from] CliError),
    /// No token is given.
    #[error("a user's token is needed: name its file by --token-file, or set {TOKEN_VARIABLE}")]
    NoToken,
    /// Standard input has no datagrams.
    #[error("--local - goes without --udp: datagrams need a port")]
    NoDatagrams,
    /// The URL is none.
    #[error("{url} is no URL of a gateway: set --public-url to https://HOST[:PORT]")]
    Url {
        /// What was given.
        url: String,
    },
    /// The CA file is of no use.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The local port can't be listened on.
    #[error("cannot listen on {address}: choose another --local")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The gateway does not answer.
    #[error("cannot reach the gateway at {place}: check --public-url, and that it runs")]
    Unreachable {
        /// Host and port.
        place: String,
        /// What the system said.
        source: io::Error,
    },
    /// The TLS handshake failed.
    #[error(
        "no TLS connection to the gateway at {place}: check --public-url, and give its CA by --ca-file if no public one signed"
    )]
    Tls {
        /// Host and port.
        place: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The gateway, the agent or the target says no.
    #[error("{0}")]
    Refused(ApiError),
    /// The service speaks HTTP.
    #[error("the service speaks HTTP: use its URL {0}")]
    SpeaksHttp(String),
    /// Somebody else answered.
    #[error("{place} answered {status}, which no PipeOps gateway does: check --public-url")]
    Stranger {
        /// Host and port.
        place: String,
        /// What it said.
        status: StatusCode,
    },
    /// The connection broke.
    #[error("the connection to the gateway broke: {0}; try again")]
    Http(#[from] hyper::Error),
    /// The connection through the tunnel broke.
    #[error("the connection was cut: {0}")]
    Cut(#[from] io::Error),
}

/// Where the token is.
#[derive(Debug)]
pub(super) enum Token {
    Given(SecretString),
    File(PathBuf),
}

impl Token {
    pub(super) fn new(file: Option<&Path>) -> Result<Self, ForwardError> {
        match file {
            Some(path) if path.as_os_str() == "-" => {
                let place = Path::new("standard input");
                Ok(Self::Given(check_token(io::stdin(), place)?))
            }
            Some(path) => {
                read_token(path)?;
                Ok(Self::File(path.to_owned()))
            }
            None => {
                let given = std::env::var(TOKEN_VARIABLE).map_err(|_| ForwardError::NoToken)?;
                let place = Path::new(TOKEN_VARIABLE);
                Ok(Self::Given(check_token(given.as_bytes(), place)?))
            }
        }
    }

    fn now(&self) -> Result<SecretString, CliError> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::File(path) => read_token(path),
        }
    }
}

/// The way to one service.
#[derive(Debug)]
pub(super) struct Client {
    host: String,
    port: u16,
    authority: String,
    path: String,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    token: Token,
}

impl Client {
    pub(super) fn new(
        url: &str,
        ca_file: Option<&Path>,
        token: Token,
        to: &ForwardArgs,
    ) -> Result<Self, ForwardError> {
        let bad = || ForwardError::Url {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let base = uri.path().trim_end_matches('/');
        Ok(Self {
            port: authority.port_u16().unwrap_or(443),
            authority: authority.to_string(),
            path: format!("{base}/v1/clusters/{}/tunnel/{}", to.cluster, to.service),
            name: ServerName::try_from(host.clone()).map_err(|_| bad())?,
            host,
            tls: Arc::new(client_config(ca_file, &[b"http/1.1"])?),
            token,
        })
    }

    /// Asks whether token, cluster and service will do, without a connection to the target. What
    /// may pass is no error: a connection may come to an agent that is back.
    pub(super) async fn check(&self) -> Result<(), ForwardError> {
        let response = self.ask(None).await?;
        if response.status().is_success() || response.status().is_redirection() {
            return Err(self.speaks_http());
        }
        let refusal = self.refusal(response).await;
        if let ForwardError::Refused(error) = &refusal
            && (error.code == ErrorCode::UpgradeRequired || error.code.retryable())
        {
            return Ok(());
        }
        Err(refusal)
    }

    /// Opens a connection to the service.
    pub(super) async fn open(
        &self,
        protocol: RawProtocol,
    ) -> Result<TokioIo<Upgraded>, ForwardError> {
        let response = self.ask(Some(protocol)).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refusal(response).await);
        }
        Ok(TokioIo::new(hyper::upgrade::on(response).await?))
    }

    async fn ask(&self, protocol: Option<RawProtocol>) -> Result<Response<Incoming>, ForwardError> {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = self.path.parse().map_err(|_| self.bad_url())?;
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(&self.authority).map_err(|_| self.bad_url())?;
        headers.insert(header::HOST, host);
        let token = self.token.now()?;
        let bearer = format!("Bearer {}", token.expose_secret());
        let mut bearer = HeaderValue::from_str(&bearer).map_err(|_| ForwardError::NoToken)?;
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
        if let Some(protocol) = protocol {
            let token = HeaderValue::from_static(protocol.token());
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, token);
        }
        match timeout(FORWARD_OPEN, self.send(request)).await {
            Ok(response) => response,
            Err(_) => Err(ForwardError::Unreachable {
                place: self.place(),
                source: io::ErrorKind::TimedOut.into(),
            }),
        }
    }

    async fn send(
        &self,
        request: Request<Empty<Bytes>>,
    ) -> Result<Response<Incoming>, ForwardError> {
        let unreachable = |source| ForwardError::Unreachable {
            place: self.place(),
            source,
        };
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let stream = timeout(CONNECT, connect)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(unreachable)?;
        // A socket without the options works all the same.
        drop(tune_end(&stream));
        let handshake =
            TlsConnector::from(Arc::clone(&self.tls)).connect(self.name.clone(), stream);
        let tls = timeout(TLS_HANDSHAKE, handshake)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| ForwardError::Tls {
                place: self.place(),
                source,
            })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        // It ends with the response, or with what the connection becomes.
        drop(tokio::spawn(connection.with_upgrades()));
        Ok(sender.send_request(request).await?)
    }

    /// What an answer that is no success says.
    async fn refusal(&self, response: Response<Incoming>) -> ForwardError {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ERROR)
            .collect()
            .await;
        let body = body.map(http_body_util::Collected::to_bytes);
        match body.ok().as_deref().and_then(error::parse) {
            Some(error) => ForwardError::Refused(error),
            None => ForwardError::Stranger {
                place: self.place(),
                status,
            },
        }
    }

    fn speaks_http(&self) -> ForwardError {
        ForwardError::SpeaksHttp(format!("https://{}{}/", self.authority, self.path))
    }

    fn bad_url(&self) -> ForwardError {
        ForwardError::Url {
            url: self.authority.clone(),
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}
