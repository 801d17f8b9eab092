//! The demo service: something to reach through the tunnel when nothing else is there.
//!
//! An HTTP/1.1 server on a loopback port of its own. It shows each kind of traffic once: a page,
//! an endless event stream, a WebSocket, a large download, an upload. It keeps nothing and knows
//! no secret. `bodies` makes what streams, `echo` is the WebSocket, `page` the page.

mod bodies;
mod echo;
mod page;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Map, Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Connections at once; each may hold an upload or an open stream. Far above what one person with a
/// browser opens, far below a process's descriptors.
const MAX_CONNECTIONS: usize = 512;
/// A client on the same machine sends its head at once.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// Waits out a shortage of descriptors instead of spinning on it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const READ: &str = "GET, HEAD";
/// Fields that a demo must not show, should one ever get this far.
const SECRET: [header::HeaderName; 3] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
];

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A running demo service. Dropped, it and all its connections end.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Demo {
    /// Starts the service on a free loopback port. Needs a runtime.
    ///
    /// # Errors
    /// What the system says when there is no port.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let serving = serve(listener, stop.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        Ok(Self {
            address,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it listens, always on loopback.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(permit) = Arc::clone(&permits).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, stop.clone());
                let stop = stop.clone();
                tokio::spawn(async move {
                    stop.run_until_cancelled_owned(connection).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the demo service can not accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let stop = stop.clone();
        async move { Ok::<_, Infallible>(respond(request, stop).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of the demo service failed");
    }
}

async fn respond(request: Request<Incoming>, stop: CancellationToken) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let allow = match path.as_str() {
        "/" | "/headers" | "/events" | "/download" => READ,
        "/echo" => "GET",
        "/upload" => "POST",
        _ => return not_found(&path),
    };
    if !allow
        .split(", ")
        .any(|method| method == request.method().as_str())
    {
        let message = format!("{path} takes {allow}");
        let mut response = problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            &message,
        );
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static(allow));
        return response;
    }
    match path.as_str() {
        "/headers" => headers(&request),
        "/events" => bodies::events(&request),
        "/download" => bodies::download(&request),
        "/upload" => bodies::upload(request.into_body()).await,
        "/echo" => echo::respond(request, stop),
        _ => page::respond(&request),
    }
}

/// The request as it arrived.
fn headers(request: &Request<Incoming>) -> Response<Body> {
    json_response(
        StatusCode::OK,
        &json!({
            "method": request.method().as_str(),
            "path": request.uri().to_string(),
            "headers": shown(request.headers()),
        }),
    )
}

/// All fields but secrets; several values of one field are joined, as HTTP allows.
fn shown(fields: &HeaderMap) -> Map<String, Value> {
    let mut all = Map::new();
    for name in fields.keys().filter(|name| !SECRET.contains(name)) {
        let values: Vec<_> = fields
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        all.insert(name.to_string(), Value::from(values.join(", ")));
    }
    all
}

fn not_found(path: &str) -> Response<Body> {
    let message =
        format!("the demo has no {path}: try /, /events, /echo, /download, /upload or /headers");
    problem(StatusCode::NOT_FOUND, "NOT_FOUND", &message)
}

/// An error in the form that the tunnel's own have.
fn problem(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    json_response(
        status,
        &json!({"error": {"code": code, "message": message, "details": {}}}),
    )
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    response(status, "application/json", format!("{value:#}\n"))
}

fn response(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = status;
    mark(response.headers_mut(), kind);
    response
}

/// What all responses say: their type, and that nobody may keep them.
fn mark(fields: &mut HeaderMap, kind: &'static str) {
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

fn is_head<B>(request: &Request<B>) -> bool {
    request.method() == Method::HEAD
}

#[cfg(test)]
mod tests;
