//! Pages of lists, and tags of what has not changed.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};

use crate::wire::error::{ApiError, ErrorCode};

/// Items on a page unless asked otherwise.
const DEFAULT: usize = 100;

/// The most items on a page.
pub(super) const MOST: usize = 1000;

/// The largest answer that gets a tag; what streams has none.
const MOST_TAGGED: usize = 4 << 20;

/// Which part of a list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PageQuery {
    /// 1 to 1000 items; 100 when missing.
    pub(super) limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub(super) cursor: Option<String>,
}

impl PageQuery {
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT).clamp(1, MOST)
    }
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// What is in it.
    pub(super) items: Vec<T>,
    /// Where the next part starts; `null` on the last one.
    pub(super) next_cursor: Option<String>,
}

/// Tags a JSON answer to a GET (RFC 9110 section 8.8.3), and leaves it out where the caller has it.
pub(super) async fn tagged(request: Request, next: Next) -> Response {
    let asked = request.headers().get(header::IF_NONE_MATCH).cloned();
    let get = request.method() == Method::GET;
    let response = next.run(request).await;
    let json = response.headers().get(header::CONTENT_TYPE);
    let json = json.is_some_and(|kind| kind == "application/json");
    if !get || response.status() != StatusCode::OK || !json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, MOST_TAGGED).await else {
        return ApiError::new(
            ErrorCode::Internal,
            "the answer is too large; ask for fewer items",
        )
        .into_response();
    };
    let tag = format!("\"{}\"", HEXLOWER.encode(&Sha256::digest(&bytes)[..12]));
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    parts.headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if matches(asked.as_ref(), &tag) {
        let fields = std::mem::take(&mut parts.headers);
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers = kept(fields);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// What is said with 304.
fn kept(mut fields: HeaderMap) -> HeaderMap {
    fields.remove(header::CONTENT_TYPE);
    fields.remove(header::CONTENT_LENGTH);
    fields
}

/// Whether `If-None-Match` names the tag (RFC 9110 section 13.1.2, weak comparison).
fn matches(asked: Option<&HeaderValue>, tag: &str) -> bool {
    let Some(asked) = asked.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut tags = asked
        .split(',')
        .map(|one| one.trim().trim_start_matches("W/"));
    tags.any(|one| one == tag || one == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_among_others() {
        let of = |text: &str| HeaderValue::from_str(text).unwrap();
        assert!(matches(Some(&of("\"a\"")), "\"a\""));
        assert!(matches(Some(&of("\"b\", W/\"a\"")), "\"a\""));
        assert!(matches(Some(&of("*")), "\"a\""));
        assert!(!matches(Some(&of("\"b\"")), "\"a\""));
        assert!(!matches(None, "\"a\""));
    }

    #[test]
    fn a_page_has_a_size() {
        assert_eq!(PageQuery::default().limit(), DEFAULT);
        let query = |limit| PageQuery {
            limit: Some(limit),
            cursor: None,
        };
        assert_eq!(query(0).limit(), 1);
        assert_eq!(query(1_000_000).limit(), MOST);
    }
}
