//! An answer that only the tunnel can give.

mod lines;

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::Value;

use super::sse;
use crate::gateway::body::ResponseBody;
use crate::gateway::proxy::{self, ClusterRef, Route};
use crate::gateway::service::{Client, Refusal};
use crate::gateway::worker::Worker;
use crate::http::path::TunnelPath;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::head::COMMANDS;
pub(in crate::gateway) use lines::Lines;

/// What of Kubernetes' own words is read, where it refuses.
const MOST_WORDS: usize = 64 * 1024;

/// A request to a cluster's API in the place of the one that came.
#[derive(Debug, Clone)]
pub(super) struct Detour {
    /// The cluster's id.
    pub(super) cluster: String,
    /// The scope that the token needs.
    pub(super) scope: &'static str,
    /// Path and query.
    pub(super) target: String,
    /// How the answer is to be told.
    pub(super) form: Form,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it comes.
    Bytes,
    /// A server-sent event for each line.
    Events,
    /// A JSON object for each line.
    Lines,
}

impl Detour {
    /// Asks the cluster.
    ///
    /// # Errors
    /// The tunnel's, and Kubernetes' own in the contract's form.
    pub(super) async fn follow(
        self,
        worker: &Rc<Worker>,
        client: &Client,
        mut request: Request<Incoming>,
        id: &str,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let fields = request.headers_mut();
        fields.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        fields.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        let path = TunnelPath {
            service: COMMANDS,
            rest: &self.target,
            prefix: "",
        };
        let route = Route {
            cluster: ClusterRef::Id(&self.cluster),
            path: &path,
            scope: Some(self.scope),
            host: "",
            id,
        };
        let response = proxy::forward(worker, client, request, route).await?;
        match response.status() {
            StatusCode::OK => Ok(self.form.told(response)),
            StatusCode::SWITCHING_PROTOCOLS => Ok(response),
            _ => Err(refused(response).await.into()),
        }
    }
}

impl Form {
    fn told(self, response: Response<ResponseBody>) -> Response<ResponseBody> {
        let (media_type, events) = match self {
            Self::Bytes => return response,
            Self::Events => (sse::MEDIA_TYPE, true),
            Self::Lines => ("application/x-ndjson", false),
        };
        let (mut parts, body) = response.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts
            .headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        parts
            .headers
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Response::from_parts(parts, ResponseBody::lines(Lines::new(body, events)))
    }
}

/// What Kubernetes, or the agent, says in the place of an answer.
async fn refused(response: Response<ResponseBody>) -> ApiError {
    let status = response.status();
    let read = Limited::new(response.into_body(), MOST_WORDS)
        .collect()
        .await;
    let said = read.map(|body| body.to_bytes()).unwrap_or_default();
    if let Some(ours) = crate::http::error::parse(&said) {
        return ours;
    }
    let code = match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => ErrorCode::InvalidRequest,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorCode::Forbidden,
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::CONFLICT => ErrorCode::Conflict,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::TooManyRequests,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => ErrorCode::TargetTimedOut,
        _ => ErrorCode::TargetFailed,
    };
    ApiError::new(code, words(&said)).with_detail("kubernetes_status", status.as_u16())
}

/// The message of a Kubernetes `Status`, or what there is.
fn words(said: &Bytes) -> String {
    let status: Option<Value> = serde_json::from_slice(said).ok();
    let message = status
        .as_ref()
        .and_then(|status| status.get("message")?.as_str());
    let text = message.map_or_else(|| String::from_utf8_lossy(said).into_owned(), str::to_owned);
    match text.trim() {
        "" => "the cluster's API refused and did not say why".to_owned(),
        text => text.chars().take(1_000).collect(),
    }
}
