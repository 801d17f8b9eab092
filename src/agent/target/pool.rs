//! Connections to one target, kept for the next request.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use http::{Method, Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::task::spawn_local;
use tokio::time::{Duration, Instant};

use super::Answer;
use super::connect::Connector;
use crate::http::body::ExchangeBody;
use crate::http::exec::LocalExec;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::limits::{MAX_HEADER_BYTES, MAX_HEADERS, MAX_IDLE_ORIGINS, ORIGIN_IDLE};

type H1 = http1::SendRequest<ExchangeBody>;
type H2 = http2::SendRequest<ExchangeBody>;

/// Bytes of a response that are read from a target in one go, and held for each one whose reader has
/// stopped. hyper's own limit is 400 KiB: a thousand streams would hold half a GiB.
const READ_AHEAD: usize = 2 * MAX_HEADER_BYTES;

/// Why a target gave no response, for the operator.
#[derive(Debug, thiserror::Error)]
pub(in crate::agent) enum OriginError {
    /// No connection: nobody listens, or the name does not resolve.
    #[error("no connection: {0}")]
    Refused(io::Error),
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTimedOut,
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Tls(io::Error),
    /// The connection failed, or what came was not HTTP.
    #[error("no HTTP: {0}")]
    Http(hyper::Error),
}

impl OriginError {
    /// The error as the client is told it; addresses stay in the cluster.
    pub(in crate::agent) fn into_api_error(self, service: &str) -> ApiError {
        let (code, what) = match self {
            Self::Refused(error) => {
                let why = if error.kind() == io::ErrorKind::ConnectionRefused {
                    "refused the connection".to_owned()
                } else {
                    format!("can not be reached ({})", error.kind())
                };
                (
                    ErrorCode::TargetRefused,
                    format!("{why}; check that it runs and the agent's configuration of it"),
                )
            }
            Self::ConnectTimedOut => (
                ErrorCode::TargetTimedOut,
                "does not take connections in time".to_owned(),
            ),
            Self::Tls(error) => (
                ErrorCode::TargetFailed,
                format!("fails the TLS handshake: {error}"),
            ),
            Self::Http(error) => (
                ErrorCode::TargetFailed,
                format!("did not answer properly: {error}"),
            ),
        };
        ApiError::new(
            code,
            format!("the service '{service}' in the cluster {what}"),
        )
    }
}

/// The connections to one target.
#[derive(Clone)]
pub(super) struct Pool(Rc<Inner>);

struct Inner {
    connector: Connector,
    h2: bool,
    idle: RefCell<VecDeque<(Instant, H1)>>,
    shared: RefCell<Option<H2>>,
}

/// A connection in use. Dropped, it is closed unless it carries other requests too.
pub(in crate::agent) struct Lease(Option<(Rc<Inner>, H1)>);

impl Lease {
    /// Keeps the connection: its request and response have both come to their end.
    pub(in crate::agent) fn give_back(self) {
        let Some((pool, sender)) = self.0 else { return };
        let mut idle = pool.idle.borrow_mut();
        if idle.len() < MAX_IDLE_ORIGINS {
            idle.push_back((Instant::now(), sender));
        }
    }
}

impl Pool {
    pub(super) fn new(connector: Connector, h2: bool) -> Self {
        Self(Rc::new(Inner {
            connector,
            h2,
            idle: RefCell::default(),
            shared: RefCell::default(),
        }))
    }

    /// Closes the connections that no request has used for [`ORIGIN_IDLE`].
    pub(super) fn expire(&self) {
        let mut idle = self.0.idle.borrow_mut();
        let old = |(since, _): &(Instant, H1)| since.elapsed() > ORIGIN_IDLE;
        while idle.front().is_some_and(old) {
            idle.pop_front();
        }
    }

    /// Sends a request and waits for the response's head.
    pub(super) async fn send(&self, request: Request<ExchangeBody>) -> Result<Answer, OriginError> {
        if self.0.h2 {
            let response = Box::pin(self.send_h2(request)).await?;
            return Ok(Answer {
                response,
                lease: Lease(None),
            });
        }
        let (response, sender) = self.send_h1(request).await?;
        Ok(Answer {
            response,
            lease: Lease(Some((Rc::clone(&self.0), sender))),
        })
    }

    async fn send_h1(
        &self,
        mut request: Request<ExchangeBody>,
    ) -> Result<(Response<Incoming>, H1), OriginError> {
        while let Some(mut sender) = self.idle().await {
            let again = repeatable(&request);
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, sender)),
                Err(mut failed) => match failed.take_message().or(again) {
                    // The target closed a kept connection just then; nothing has come of it.
                    Some(unsent) => request = unsent,
                    None => return Err(OriginError::Http(failed.into_error())),
                },
            }
        }
        // Most requests find a connection: the others pay for the room that connecting takes.
        let mut sender = Box::pin(self.connect_h1()).await?;
        let response = sender
            .send_request(request)
            .await
            .map_err(OriginError::Http)?;
        Ok((response, sender))
    }

    async fn connect_h1(&self) -> Result<H1, OriginError> {
        let io = TokioIo::new(self.0.connector.connect().await?);
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEADER_BYTES)
            .max_buf_size(READ_AHEAD)
            .handshake(io)
            .await
            .map_err(OriginError::Http)?;
        spawn_local(connection.with_upgrades());
        Ok(sender)
    }

    /// A kept connection that is ready; the one used last is the least likely to be closed.
    async fn idle(&self) -> Option<H1> {
        loop {
            let (since, mut sender) = self.0.idle.borrow_mut().pop_back()?;
            if since.elapsed() < ORIGIN_IDLE && !sender.is_closed() && sender.ready().await.is_ok()
            {
                return Some(sender);
            }
        }
    }

    async fn send_h2(
        &self,
        request: Request<ExchangeBody>,
    ) -> Result<Response<Incoming>, OriginError> {
        let mut sender = match self.shared_h2().await {
            Some(sender) => sender,
            None => self.connect_h2().await?,
        };
        sender
            .send_request(request)
            .await
            .map_err(OriginError::Http)
    }

    async fn shared_h2(&self) -> Option<H2> {
        let mut sender = self.0.shared.borrow().clone()?;
        (!sender.is_closed() && sender.ready().await.is_ok()).then_some(sender)
    }

    async fn connect_h2(&self) -> Result<H2, OriginError> {
        let io = TokioIo::new(self.0.connector.connect().await?);
        let (sender, connection) = http2::Builder::new(LocalExec)
            .timer(TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(20))
            .adaptive_window(true)
            .handshake(io)
            .await
            .map_err(OriginError::Http)?;
        spawn_local(connection);
        self.0.shared.replace(Some(sender.clone()));
        Ok(sender)
    }
}

/// A copy of a request that may be sent twice without harm (RFC 9110, section 9.2.2).
fn repeatable(request: &Request<ExchangeBody>) -> Option<Request<ExchangeBody>> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !safe || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(ExchangeBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}
