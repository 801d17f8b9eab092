//! What is answered to which request. No I/O here: every answer is at hand.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::access::{Access, Caller};
use super::limit::{Limiter, Rate, Verdict};
use super::probes::{self, Health, Liveness, Readiness};
use super::{Check, Program, Watchdog, metrics_response};
use crate::build_info;
use crate::http::error;
use crate::wire::error::{ApiError, ErrorCode};

/// Methods that every path takes.
const ALLOW: &str = "GET, HEAD";

/// Callers that a limit remembers: more than a cluster has nodes; 4096 of them fill half a megabyte.
const CALLERS: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Which of the two listeners a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Probes, `/info`, `/config`, `/version`.
    Admin,
    /// `/metrics`.
    Metrics,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Healthz,
    Readyz,
    Livez,
    Info,
    Config,
    Version,
    Metrics,
}

impl Door {
    fn endpoint(self, path: &str) -> Option<Endpoint> {
        match (self, path) {
            (Self::Admin, "/healthz" | "/health") => Some(Endpoint::Healthz),
            (Self::Admin, "/readyz" | "/ready") => Some(Endpoint::Readyz),
            (Self::Admin, "/livez") => Some(Endpoint::Livez),
            (Self::Admin, "/info") => Some(Endpoint::Info),
            (Self::Admin, "/config") => Some(Endpoint::Config),
            (Self::Admin, "/version") => Some(Endpoint::Version),
            (Self::Metrics, "/metrics") => Some(Endpoint::Metrics),
            (Self::Admin | Self::Metrics, _) => None,
        }
    }

    fn paths(self) -> &'static str {
        match self {
            Self::Admin => "/healthz, /readyz, /livez, /info, /config and /version",
            Self::Metrics => "/metrics",
        }
    }
}

/// The body of `/version`, and the first fields of `/info`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Build {
    version: &'static str,
    git_commit: &'static str,
    build_date: &'static str,
    /// The contract's name for what it was compiled with.
    go_version: &'static str,
}

impl Build {
    /// This build.
    pub const THIS: Self = Self {
        version: build_info::VERSION,
        git_commit: build_info::GIT_COMMIT,
        build_date: build_info::BUILD_DATE,
        go_version: build_info::RUSTC,
    };
}

/// What a program does, in the words of `/info`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Features {
    /// Whether it measures.
    pub monitoring: bool,
    /// Whether it takes requests through the tunnel.
    pub tunneling: bool,
    /// Whether it scales what runs in the cluster.
    pub auto_scaling: bool,
}

/// Answers for one program.
pub(super) struct Router {
    program: Arc<dyn Program>,
    watchdog: Watchdog,
    access: Access,
    limits: Limits,
    started: Instant,
}

/// The limits of the API reference; the probes have none.
struct Limits {
    info: Limiter<Caller>,
    config: Limiter<Caller>,
    version: Limiter<Caller>,
    metrics: Limiter<Caller>,
}

impl Limits {
    fn new() -> Self {
        let rate = |per_minute: u32, burst: u32| {
            let one_or_more = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
            let rate = Rate {
                per_minute: one_or_more(per_minute),
                burst: one_or_more(burst),
            };
            Limiter::new(rate, CALLERS)
        };
        Self {
            info: rate(60, 10),
            config: rate(10, 5),
            version: rate(60, 10),
            metrics: rate(60, 10),
        }
    }

    fn of(&self, endpoint: Endpoint) -> Option<&Limiter<Caller>> {
        match endpoint {
            Endpoint::Healthz | Endpoint::Readyz | Endpoint::Livez => None,
            Endpoint::Info => Some(&self.info),
            Endpoint::Config => Some(&self.config),
            Endpoint::Version => Some(&self.version),
            Endpoint::Metrics => Some(&self.metrics),
        }
    }
}

/// A body with its status and type.
type Answer = (StatusCode, HeaderValue, Vec<u8>);

impl Router {
    pub(super) fn new(program: Arc<dyn Program>, watchdog: Watchdog, access: Access) -> Self {
        Self {
            program,
            watchdog,
            access,
            limits: Limits::new(),
            started: Instant::now(),
        }
    }

    /// Keeps what the answers go by up to date.
    pub(super) async fn follow(&self) {
        self.access.follow(|| self.program.admin()).await;
    }

    /// The answer to a request's head, for GET and HEAD alike.
    pub(super) fn answer<B>(
        &self,
        door: Door,
        peer: IpAddr,
        request: &Request<B>,
    ) -> Response<Full<Bytes>> {
        let Some(endpoint) = door.endpoint(request.uri().path()) else {
            let message = format!("there is nothing at this path; there are {}", door.paths());
            return refuse(&ApiError::new(ErrorCode::NotFound, message));
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let message = "this only takes GET and HEAD";
            return refuse(&ApiError::new(ErrorCode::MethodNotAllowed, message));
        }
        let caller = self.access.caller(request.headers(), peer);
        let verdict = self.limits.of(endpoint).map(|limit| limit.check(&caller));
        let outcome = match verdict.and_then(|verdict| verdict.retry_after) {
            Some(wait) => Err(ApiError::new(
                ErrorCode::TooManyRequests,
                "this was asked for too often",
            )
            .with_detail("retry_after_seconds", whole_seconds(wait))),
            None => self.serve(endpoint, caller, request),
        };
        let mut response = outcome.map_or_else(|error| refuse(&error), respond);
        if let Some(verdict) = verdict {
            tell(response.headers_mut(), &verdict);
        }
        response
    }

    fn serve<B>(
        &self,
        endpoint: Endpoint,
        caller: Caller,
        request: &Request<B>,
    ) -> Result<Answer, ApiError> {
        let program = &self.program;
        let verbose = is_verbose(request.uri().query());
        match endpoint {
            Endpoint::Healthz => {
                let threads = self.watchdog.checks();
                probe(
                    "healthz",
                    &threads,
                    verbose,
                    &Health::of(&threads, Timestamp::now()),
                )
            }
            Endpoint::Readyz => {
                let checks = program.checks();
                probe(
                    "readyz",
                    &checks,
                    verbose,
                    &Readiness::of(&checks, Timestamp::now()),
                )
            }
            Endpoint::Livez => {
                let (threads, components) = (self.watchdog.checks(), program.components());
                let uptime = self.started.elapsed().as_secs();
                let body = Liveness::of(&threads, &components, uptime);
                probe("livez", &threads, verbose, &body)
            }
            Endpoint::Info => {
                self.access.check(caller)?;
                json(StatusCode::OK, program.info())
            }
            Endpoint::Config => {
                self.access.check(caller)?;
                json(StatusCode::OK, program.config())
            }
            Endpoint::Version => json(StatusCode::OK, serde_json::to_vec(&Build::THIS)),
            Endpoint::Metrics => {
                let (kind, body) = metrics_response(request.headers(), &program.metrics());
                Ok((StatusCode::OK, kind, body))
            }
        }
    }
}

fn probe(
    name: &str,
    checks: &[Check],
    verbose: bool,
    body: &impl Serialize,
) -> Result<Answer, ApiError> {
    let status = if probes::pass(checks) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if verbose {
        let text = probes::verbose(name, checks).into_bytes();
        return Ok((status, HeaderValue::from_static(TEXT), text));
    }
    json(status, serde_json::to_vec(body))
}

fn json(status: StatusCode, body: serde_json::Result<Vec<u8>>) -> Result<Answer, ApiError> {
    let body = body.map_err(|error| internal(&error))?;
    Ok((status, HeaderValue::from_static(JSON), body))
}

/// Why a body can not be made is for the log: its words may hold what is in it.
fn internal(error: &dyn std::error::Error) -> ApiError {
    tracing::error!(%error, "can not answer an admin request");
    ApiError::new(ErrorCode::Internal, "this can not be written; see the log")
}

fn respond((status, kind, body): Answer) -> Response<Full<Bytes>> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CONTENT_LENGTH, length);
    response
}

/// The answer for an error.
pub(super) fn refuse(error: &ApiError) -> Response<Full<Bytes>> {
    error::response(error, false, Some(ALLOW))
}

/// The headers of the API reference's "Rate Limits", and when to try again.
fn tell(headers: &mut HeaderMap, verdict: &Verdict) {
    let reset = Timestamp::now() + verdict.reset;
    let reset = reset.as_second() + i64::from(reset.subsec_nanosecond() > 0);
    for (name, value) in [
        ("x-ratelimit-limit", verdict.limit.into()),
        ("x-ratelimit-remaining", verdict.remaining.into()),
        ("x-ratelimit-reset", reset.into()),
    ] {
        headers.insert(HeaderName::from_static(name), value);
    }
    if let Some(wait) = verdict.retry_after {
        headers.insert(header::RETRY_AFTER, whole_seconds(wait).into());
    }
}

fn whole_seconds(wait: std::time::Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// Whether a query has `verbose`, with any value, as Kubernetes' probes see it.
fn is_verbose(query: Option<&str>) -> bool {
    query.is_some_and(|query| {
        let mut pairs = query.split('&');
        pairs.any(|pair| pair.split('=').next() == Some("verbose"))
    })
}

#[cfg(test)]
mod tests;
