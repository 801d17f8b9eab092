//! One request: which host and path, what it is for, who may.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::body::ResponseBody;
use super::hosts::Site;
use super::metrics::HttpVersion;
use super::worker::Worker;
use super::{admission, platform, proxy, upgrade};
use crate::http::authority;
use crate::http::error;
use crate::http::framing;
use crate::http::framing::Heads;
use crate::http::path::TunnelPath;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::head::COMMANDS;
use crate::wire::limits::MAX_TARGET_BYTES;

/// What is known of the client's connection.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) sni: Option<String>,
    /// Whether it came over our own TLS, and not from a load balancer that ended it.
    pub(super) tls: bool,
    /// The second opinion on each HTTP/1 head; HTTP/2 needs none.
    pub(super) heads: Option<Heads>,
    /// Ends the connection at once; none where several requests share it.
    pub(super) cut: Option<CancellationToken>,
}

/// The service whose clients understand Kubernetes' own errors.
const KUBERNETES: &str = "kubernetes";

/// Header that carries the request's id, both ways.
pub(super) const REQUEST_ID: &str = "x-request-id";

/// The service that hyper calls once for each request.
pub(super) async fn handle(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let id = request_id(&request);
    let connect = request.method() == Method::CONNECT;
    let last = framing::is_last(request.method(), request.headers());
    let metrics = &worker.shared.metrics;
    // On the heap while it lasts: hyper keeps room for this future as long as the connection is open.
    let mut response = Box::pin(route(&worker, &client, request, &id))
        .await
        .unwrap_or_else(|refusal| {
            metrics.tunnel.errors.get(refusal.error.code).inc();
            if !refusal.logged {
                tracing::info!(
                    target: "access", request_id = id, peer = %client.peer,
                    status = refusal.error.code.status(), outcome = "refused",
                    reason = refusal.error.message, "request"
                );
            }
            error::response(&refusal.error, refusal.kubernetes, refusal.allow())
                .map(ResponseBody::full)
        });
    if let Ok(value) = id.parse() {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    // What follows a refused upgrade on this connection may be the other protocol's bytes.
    if connect {
        proxy::as_proxy(&mut response);
    }
    let status = response.status();
    let switched = status == StatusCode::SWITCHING_PROTOCOLS || connect && status == StatusCode::OK;
    let http1 = client.heads.is_some();
    let version = if http1 {
        HttpVersion::H1
    } else {
        HttpVersion::H2
    };
    metrics.http_requests.get((version, status.into())).inc();
    let ends = last && !switched || status == StatusCode::BAD_REQUEST;
    if http1 && ends {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// An error that a request is answered with.
pub(super) struct Refusal {
    pub(super) error: ApiError,
    /// The client is one of Kubernetes.
    pub(super) kubernetes: bool,
    /// The request's event is in the log already.
    pub(super) logged: bool,
}

impl Refusal {
    /// The methods that the path takes, where the method was the fault.
    fn allow(&self) -> Option<&'static str> {
        (self.error.code == ErrorCode::MethodNotAllowed).then_some("GET")
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            kubernetes: false,
            logged: false,
        }
    }
}

async fn route(
    worker: &Rc<Worker>,
    client: &Client,
    request: Request<Incoming>,
    id: &str,
) -> Result<Response<ResponseBody>, Refusal> {
    if let Some(violation) = client.heads.as_ref().and_then(Heads::next) {
        return Err(ApiError::from(violation).into());
    }
    if request.method() == Method::CONNECT {
        return Box::pin(proxy::connect(worker, client, request, id)).await;
    }
    let authority = authority::of_request(request.uri(), request.headers())?;
    authority::check_sni(&authority, client.sni.as_deref())?;
    let site = worker.shared.hosts.site(authority.host())?;
    check_length(request.uri())?;
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str())
        .to_owned();
    let host = authority.to_string();
    match site {
        Site::Tunnel(cluster) => {
            let path = TunnelPath::of_host(&target)?;
            let route = proxy::Route {
                cluster: proxy::ClusterRef::Id(&cluster),
                path: &path,
                scope: None,
                host: &host,
                id,
            };
            tunnel(worker, client, request, route).await
        }
        Site::Api => {
            if is_tunnel(&target) {
                let (name, path) = TunnelPath::of_cluster(&target)?;
                let cluster = proxy::ClusterRef::Name(name);
                let route = proxy::Route {
                    cluster,
                    path: &path,
                    scope: None,
                    host: &host,
                    id,
                };
                return tunnel(worker, client, request, route).await;
            }
            if is_agents(request.uri().path()) {
                return agent(worker, client, request).map_err(Refusal::from);
            }
            Box::pin(platform::serve(worker, client, request, id)).await
        }
    }
}

/// Refuses a target above [`MAX_TARGET_BYTES`].
fn check_length(uri: &Uri) -> Result<(), ApiError> {
    match uri
        .path_and_query()
        .map_or(0, |target| target.as_str().len())
    {
        0..=MAX_TARGET_BYTES => Ok(()),
        length => Err(ApiError::new(
            ErrorCode::UriTooLong,
            format!(
                "the request's path and query have {length} bytes, above the limit of {MAX_TARGET_BYTES}"
            ),
        )),
    }
}

/// Whether a path of the API is the path form: `/v1/clusters/{name}/tunnel/…`.
fn is_tunnel(target: &str) -> bool {
    let mut parts = target.split('/').skip(1);
    parts.next() == Some("v1") && parts.next() == Some("clusters") && parts.nth(1) == Some("tunnel")
}

async fn tunnel(
    worker: &Rc<Worker>,
    client: &Client,
    request: Request<Incoming>,
    route: proxy::Route<'_>,
) -> Result<Response<ResponseBody>, Refusal> {
    if route.path.service == COMMANDS {
        return Err(ApiError::new(
            ErrorCode::ServiceUnknown,
            "no tunnel leads to this service; see /v1/clusters/{name}/logs and /exec",
        )
        .into());
    }
    let kubernetes = route.path.service == KUBERNETES;
    proxy::forward(worker, client, request, route)
        .await
        .map_err(|refusal| Refusal {
            kubernetes,
            ..refusal
        })
}

/// Whether a path of the API is for agents.
fn is_agents(path: &str) -> bool {
    path.starts_with("/v1/agent/")
}

fn agent(
    worker: &Rc<Worker>,
    client: &Client,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ApiError> {
    let agent_path = match request.uri().path() {
        "/v1/agent/connect" => admission::accept,
        "/v1/agent/carrier" => upgrade::accept,
        _ => {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                "there is nothing at this path",
            ));
        }
    };
    if request.method() != Method::GET {
        return Err(ApiError::new(ErrorCode::MethodNotAllowed, "use GET"));
    }
    if !client.tls {
        return Err(ApiError::new(
            ErrorCode::MisdirectedRequest,
            "agents connect by TLS to the gateway's own listener (`listen`), and not through `http_listen`",
        ));
    }
    agent_path(worker, client, request).map(|response| response.map(|()| ResponseBody::empty()))
}

fn request_id(request: &Request<Incoming>) -> String {
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let fits = |id: &&str| {
        (1..=64).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match given.filter(fits) {
        Some(id) => id.to_owned(),
        None => super::random_id(16).unwrap_or_default(),
    }
}
