//! The tunnel's own error responses: one JSON object that API users and `kubectl` can both read.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::wire::error::{ApiError, ErrorCode};

/// The contract's "Error Response Format".
#[derive(Serialize)]
struct Plain<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    code: ErrorCode,
    message: &'a str,
    details: &'a Map<String, Value>,
}

/// The same, readable as `k8s.io/apimachinery` `meta/v1` `Status` too.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Map<String, Value>,
    status: &'static str,
    message: &'a str,
    reason: &'static str,
    code: u16,
    error: Inner<'a>,
}

/// The JSON body for an error.
///
/// With `kubernetes` the object is also a valid `meta/v1` `Status`, whose message `kubectl`
/// prints.
pub fn body(err: &ApiError, kubernetes: bool) -> Bytes {
    let error = Inner {
        code: err.code,
        message: &err.message,
        details: &err.details,
    };
    let json = if kubernetes {
        serde_json::to_vec(&Status {
            kind: "Status",
            api_version: "v1",
            metadata: Map::new(),
            status: "Failure",
            message: &err.message,
            reason: err.code.kubernetes_reason(),
            code: err.code.status(),
            error,
        })
    } else {
        serde_json::to_vec(&Plain { error })
    };
    // Strings, numbers and maps with string keys always serialise; an empty body is the
    // safe reading should that ever change.
    json.map(Bytes::from).unwrap_or_default()
}

/// Reads the JSON body of an error; `None` for anything else. A code that this version does not
/// know reads as [`ErrorCode::Internal`].
#[must_use]
pub fn parse(body: &[u8]) -> Option<ApiError> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error")?;
    let code = error
        .get("code")?
        .as_str()?
        .parse()
        .unwrap_or(ErrorCode::Internal);
    let details = error.get("details").and_then(Value::as_object).cloned();
    let message = error.get("message")?.as_str()?;
    Some(ApiError {
        details: details.unwrap_or_default(),
        ..ApiError::new(code, message)
    })
}

/// A whole response for an error: status, body and the headers that go with it.
///
/// `allow` is the value of `Allow`, which RFC 9110 section 15.5.6 requires with 405; it is used
/// for no other status. 401 gets `WWW-Authenticate: Bearer` (RFC 6750 section 3).
pub fn response(
    err: &ApiError,
    kubernetes: bool,
    allow: Option<&'static str>,
) -> Response<Full<Bytes>> {
    let body = body(err, kubernetes);
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() =
        StatusCode::from_u16(err.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 3] = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_LENGTH, length);
    if kubernetes && let Some(warning) = warning(&err.message) {
        headers.insert(header::WARNING, warning);
    }
    if err.code == ErrorCode::Unauthorized {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if err.code == ErrorCode::MethodNotAllowed {
        let allow = HeaderValue::from_static(allow.unwrap_or_default());
        headers.insert(header::ALLOW, allow);
    }
    response
}

/// The message as a warning (RFC 7234, section 5.5: 299, no agent's name). kubectl prints it, also
/// where it drops the `Status`: of an error in discovery, its first request, it keeps only the code.
fn warning(message: &str) -> Option<HeaderValue> {
    let quoted = message.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::from_str(&format!("299 - \"{quoted}\"")).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(err: &ApiError, kubernetes: bool) -> Value {
        serde_json::from_slice(&body(err, kubernetes)).unwrap()
    }

    #[test]
    fn the_contracts_example_comes_out_exactly() {
        let err = ApiError::new(ErrorCode::InvalidRequest, "Invalid cluster name")
            .with_detail("field", "cluster_name")
            .with_detail("reason", "must match pattern ^[a-z0-9-]+$");
        let expected = json!({"error": {
            "code": "INVALID_REQUEST",
            "message": "Invalid cluster name",
            "details": {
                "field": "cluster_name",
                "reason": "must match pattern ^[a-z0-9-]+$",
            },
        }});
        assert_eq!(parsed(&err, false), expected);
    }

    #[test]
    fn what_is_written_reads_back() {
        let err = ApiError::new(ErrorCode::Conflict, "taken").with_detail("cluster", "a");
        for kubernetes in [false, true] {
            assert_eq!(parse(&body(&err, kubernetes)), Some(err.clone()));
        }
        assert_eq!(parse(b"<html>"), None);
    }

    #[test]
    fn for_kubernetes_the_same_object_is_a_status() {
        let err = ApiError::new(ErrorCode::AgentNotConnected, "no agent");
        let expected = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "no agent",
            "reason": "ServiceUnavailable",
            "code": 503,
            "error": {"code": "AGENT_NOT_CONNECTED", "message": "no agent", "details": {}},
        });
        assert_eq!(parsed(&err, true), expected);
    }

    #[test]
    fn kubectl_is_warned_in_words() {
        let err = ApiError::new(ErrorCode::AgentNotConnected, "no \"agent\" here");
        let headers = response(&err, true, None).into_parts().0.headers;
        assert_eq!(headers[header::WARNING], "299 - \"no \\\"agent\\\" here\"");
        assert!(
            !response(&err, false, None)
                .headers()
                .contains_key(header::WARNING)
        );
    }

    #[test]
    fn every_code_makes_a_response_with_its_status() {
        for code in ErrorCode::all() {
            let err = ApiError::new(code, "x");
            let response = response(&err, true, Some("GET"));
            assert_eq!(response.status().as_u16(), code.status());
            let headers = response.headers();
            let length = body(&err, true).len().to_string();
            assert_eq!(headers[header::CONTENT_LENGTH], length);
            assert_eq!(headers[header::CONTENT_TYPE], "application/json");
            assert_eq!(headers[header::CACHE_CONTROL], "no-store");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(
                headers.contains_key(header::ALLOW),
                code == ErrorCode::MethodNotAllowed
            );
            assert_eq!(
                headers.contains_key(header::WWW_AUTHENTICATE),
                code == ErrorCode::Unauthorized
            );
        }
    }
}
