//! Who asks, how often they may, and what of it is written down.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use tokio::time::timeout;

use super::audit::Deed;
use super::detour::Detour;
use super::{Origin, Platform};
use crate::admin::{Limiter, Rate, Verdict};
use crate::gateway::directory::Grant;
use crate::gateway::store::{ClusterAccess, ClusterRecord, RequestedBy};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::token::{TokenId, TokenKind};

/// Requests a minute of one token, on each worker.
const RATE: NonZeroU32 = NonZeroU32::new(600).expect("not zero");

/// Requests at once, after a rest.
const BURST: NonZeroU32 = NonZeroU32::new(100).expect("not zero");

/// Tokens whose rate is kept in mind; 4096 of them fill half a megabyte.
const TOKENS: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Until an answer begins, the request's body and the disk included. Streams go on for longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often each token may ask.
pub(super) struct Limits(Limiter<TokenId>);

impl Default for Limits {
    fn default() -> Self {
        let rate = Rate {
            per_minute: RATE,
            burst: BURST,
        };
        Self(Limiter::new(rate, TOKENS))
    }
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Limits").finish_non_exhaustive()
    }
}

/// Whoever asks, authenticated.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) grant: Arc<Grant>,
    pub(super) origin: Origin,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::new(ErrorCode::Internal, "nobody has looked who asks"))
    }
}

impl Caller {
    /// Whether they may use the gateway's own API: clusters, tokens, audit.
    ///
    /// # Errors
    /// 403 with the scope that is missing.
    pub(super) fn is_operator(&self) -> Result<(), ApiError> {
        self.grant.authorize_all("admin").map_err(ApiError::from)
    }

    /// As who is behind a deployment.
    ///
    /// # Errors
    /// 403 for a token without a role in clusters.
    pub(super) fn as_requester(&self) -> Result<RequestedBy, ApiError> {
        let role = self.grant.role.ok_or_else(|| {
            ApiError::new(
                ErrorCode::Forbidden,
                "the token has no role; create a new one",
            )
        })?;
        Ok(RequestedBy {
            subject: self.grant.subject.clone(),
            token_id: self.grant.token_id,
            role,
        })
    }

    /// The cluster of this name, where they may do what `scope` stands for.
    ///
    /// # Errors
    /// 404 only for who may see all clusters; 403 else.
    pub(super) fn cluster(
        &self,
        platform: &Platform,
        name: &str,
        scope: &str,
    ) -> Result<Arc<ClusterRecord>, ApiError> {
        match platform.shared.directory.cluster_by_name(name) {
            Some(cluster) => {
                self.grant.authorize(&cluster, scope)?;
                Ok(cluster)
            }
            None if self.grant.kind == TokenKind::User
                && self.grant.clusters == ClusterAccess::All =>
            {
                Err(ApiError::new(
                    ErrorCode::ClusterUnknown,
                    format!("no cluster '{name}' is registered at this gateway; check its name"),
                )
                .with_detail("cluster", name))
            }
            None => Err(self.grant.no_such_cluster().into()),
        }
    }
}

/// Lets a request in: authenticates it, counts it, and gives it so long to be answered.
pub(super) async fn admit(
    State(platform): State<Platform>,
    mut request: Request,
    next: Next,
) -> Response {
    let grant = match platform.shared.authenticate(request.headers()) {
        Ok(grant) => grant,
        Err(error) => return error.into_response(),
    };
    let verdict = platform.limits.0.check(&grant.token_id);
    if let Some(wait) = verdict.retry_after {
        return limited(too_many(wait).into_response(), verdict);
    }
    let origin = request.extensions().get::<Origin>().cloned();
    let Some(origin) = origin else {
        return ApiError::new(ErrorCode::Internal, "the request has no origin").into_response();
    };
    let line = Line::of(&request, &grant, &origin);
    let deed = Deed::of(&platform, &request);
    let caller = Caller { grant, origin };
    request.extensions_mut().insert(caller.clone());
    let answered = timeout(DEADLINE, next.run(request)).await;
    let response = answered.unwrap_or_else(|_| too_slow().into_response());
    line.log(&response);
    if let Some(deed) = deed {
        let entry = deed.entry(&caller, response.status());
        platform.shared.audit.note(entry).await;
    }
    limited(response, verdict)
}

fn too_many(wait: Duration) -> ApiError {
    ApiError::new(
        ErrorCode::TooManyRequests,
        format!(
            "more than {RATE} requests a minute with this token; try again in {} s",
            wait.as_secs() + 1
        ),
    )
    .with_detail("retry_after_seconds", wait.as_secs() + 1)
}

fn too_slow() -> ApiError {
    ApiError::new(
        ErrorCode::Unavailable,
        "the gateway did not finish in time; whether a change was made is not known: look, then try again",
    )
}

/// The contract's headers about rates, and `Retry-After` where it is time to wait.
fn limited(mut response: Response, verdict: Verdict) -> Response {
    let reset = Timestamp::now()
        .as_second()
        .saturating_add_unsigned(verdict.reset.as_secs());
    let fields = response.headers_mut();
    let mut set = |name, value| fields.insert(HeaderName::from_static(name), value);
    set("x-ratelimit-limit", verdict.limit.into());
    set("x-ratelimit-remaining", verdict.remaining.into());
    set("x-ratelimit-reset", reset.into());
    if let Some(wait) = verdict.retry_after {
        fields.insert(header::RETRY_AFTER, (wait.as_secs() + 1).into());
    } else if response.status() == http::StatusCode::SERVICE_UNAVAILABLE {
        response
            .headers_mut()
            .entry(header::RETRY_AFTER)
            .or_insert(HeaderValue::from_static("5"));
    }
    response
}

/// The log's line about a request.
struct Line {
    method: Method,
    path: String,
    token_id: TokenId,
    subject: String,
    origin: Origin,
}

impl Line {
    fn of(request: &Request, grant: &Grant, origin: &Origin) -> Self {
        Self {
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            token_id: grant.token_id,
            subject: grant.subject.to_string(),
            origin: origin.clone(),
        }
    }

    /// What takes a detour is logged by the tunnel.
    fn log(self, response: &Response) {
        if response.extensions().get::<Detour>().is_some() {
            return;
        }
        tracing::info!(
            target: "access", request_id = self.origin.request_id, peer = %self.origin.peer, subject = self.subject,
            token_id = %self.token_id, method = %self.method, path = self.path, status = response.status().as_u16(),
            "api request"
        );
    }
}
