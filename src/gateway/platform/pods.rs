//! `/v1/clusters/{name}/logs` and `/exec`: what a pod writes, and programs in it.
//!
//! Both become one request to the cluster's API, made as the account of the caller's role: the agent's service
//! `commands` takes these two and nothing else, under the agent's own policy. The bytes take the way of any request through
//! the tunnel, with its back-pressure.

mod query;

use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;

use super::Platform;
use super::caller::Caller;
use super::detour::{Detour, Form};
use super::openapi::Failure;
use super::sse;
use crate::http::headers;
use crate::wire::error::{ApiError, ErrorCode};
use query::{Exec, Logs};

/// The media type of one JSON value a line.
const NDJSON: &str = "application/x-ndjson";

/// Whether a path is one of these.
pub(super) fn is_pods(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    parts.next() == Some("v1")
        && parts.next() == Some("clusters")
        && matches!(parts.nth(1), Some("logs" | "exec"))
        && parts.next().is_none()
}

/// Reads a container's log. As `text/plain` it is the log byte for byte; with `Accept: text/event-stream` each line is an event
/// `log` with `{"line": …}`, and the stream ends with an event `end` or `error`; with `Accept: application/x-ndjson`
/// each line is such an object, and the last one is `{"end": …}` or `{"error": …}`.
#[utoipa::path(get, path = "/v1/clusters/{name}/logs", tag = "pods", operation_id = "logs.stream",
    params(("name" = String, Path, description = "The cluster's name"), Logs),
    responses((status = 200, body = String, content_type = "text/plain"), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
pub(super) async fn logs(
    State(platform): State<Platform>,
    caller: Caller,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    let cluster = caller.cluster(&platform, &name, "logs")?;
    let query = Logs::parse(query.as_deref().unwrap_or_default(), Timestamp::now())?;
    Ok(detour(Detour {
        cluster: cluster.id.to_string(),
        scope: "logs",
        target: query.target(),
        form: form(&fields),
    }))
}

/// Runs a program in a container, over a WebSocket with Kubernetes' subprotocol `v5.channel.k8s.io` (or `v4`): binary messages
/// whose first byte is the channel, 0 input, 1 output, 2 errors, 3 the outcome, 4 the terminal's size, 255 the end of one.
#[utoipa::path(get, path = "/v1/clusters/{name}/exec", tag = "pods", operation_id = "exec",
    params(("name" = String, Path, description = "The cluster's name"), Exec),
    responses((status = 101, description = "It runs"), (status = "4XX", body = Failure), (status = "5XX", body = Failure)))]
pub(super) async fn exec(
    State(platform): State<Platform>,
    caller: Caller,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    fields: HeaderMap,
) -> Result<Response, ApiError> {
    let cluster = caller.cluster(&platform, &name, "exec")?;
    let query = Exec::parse(query.as_deref().unwrap_or_default())?;
    if headers::upgrade_protocol(&fields).as_deref() != Some("websocket") {
        return Err(ApiError::new(
            ErrorCode::UpgradeRequired,
            "this is a WebSocket with the subprotocol v5.channel.k8s.io",
        ));
    }
    Ok(detour(Detour {
        cluster: cluster.id.to_string(),
        scope: "exec",
        target: query.target(),
        form: Form::Bytes,
    }))
}

fn detour(to: Detour) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.extensions_mut().insert(to);
    response
}

/// What the caller would like best of what there is.
fn form(fields: &HeaderMap) -> Form {
    let accepted = fields
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut accepted = accepted.flat_map(|value| value.split(','));
    let known = accepted.find_map(
        |kind| match kind.split(';').next().unwrap_or_default().trim() {
            sse::MEDIA_TYPE => Some(Form::Events),
            NDJSON => Some(Form::Lines),
            "text/plain" => Some(Form::Bytes),
            _ => None,
        },
    );
    known.unwrap_or(Form::Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_first_that_is_known() {
        let of = |accept: &str| {
            let mut fields = HeaderMap::new();
            fields.insert(header::ACCEPT, accept.parse().unwrap());
            form(&fields)
        };
        assert_eq!(of("*/*"), Form::Bytes);
        assert_eq!(
            of("application/json, text/event-stream;q=0.9"),
            Form::Events
        );
        assert_eq!(of("application/x-ndjson"), Form::Lines);
        assert_eq!(form(&HeaderMap::new()), Form::Bytes);
    }

    #[test]
    fn their_paths_are_known() {
        assert!(is_pods("/v1/clusters/a/logs"));
        assert!(is_pods("/v1/clusters/a/exec"));
        assert!(!is_pods("/v1/clusters/a/logs/b"));
        assert!(!is_pods("/v1/clusters/logs"));
    }
}
