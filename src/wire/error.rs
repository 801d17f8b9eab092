//! The one list of errors that the tunnel itself answers with, and what each means elsewhere.
//!
//! An [`ErrorCode`] maps to an HTTP status, to a Kubernetes `Status` reason, to one byte on the
//! wire between agent and gateway, and to a metric label. An [`ApiError`] is a code with the
//! words for one occurrence.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// Why the tunnel, and not the target behind it, refused or failed a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed or ambiguous. 400.
    InvalidRequest,
    /// No credentials, or credentials that are not known or no longer valid. 401.
    Unauthorized,
    /// The credentials are valid and do not allow this. 403.
    Forbidden,
    /// The token is valid for the cluster and lacks the scope for this. 403.
    ScopeMissing,
    /// Nothing has this path. 404.
    NotFound,
    /// No cluster has this name. 404.
    ClusterUnknown,
    /// The cluster has no forward with this name. 404.
    ServiceUnknown,
    /// The path exists and does not take this method. 405.
    MethodNotAllowed,
    /// What is asked for contradicts what is there. 409.
    Conflict,
    /// The body is larger than the limit. 413, RFC 9110 15.5.14.
    PayloadTooLarge,
    /// The request's target is longer than the limit. 414, RFC 9110 15.5.15.
    UriTooLong,
    /// The connection's TLS name is not the one that the request asks for. 421, RFC 9110 15.5.20.
    MisdirectedRequest,
    /// The service speaks no HTTP: it is reached by an upgrade. 426, RFC 9110 15.5.22.
    UpgradeRequired,
    /// A rate limit was met. 429.
    TooManyRequests,
    /// The head is larger than the limit. 431, RFC 6585 section 5.
    HeadersTooLarge,
    /// A fault of the tunnel. 500.
    Internal,
    /// The agent could not connect to the target; the target never saw the request. 502.
    TargetRefused,
    /// The target broke off, or answered with something that is not HTTP. 502.
    TargetFailed,
    /// The gateway or agent cannot take the request now. 503.
    Unavailable,
    /// The cluster is known and has no agent connected. 503.
    AgentNotConnected,
    /// Every agent of the cluster is draining. 503.
    AgentDraining,
    /// The session has no room for one more stream. 503.
    TooManyStreams,
    /// The target did not start to answer in time; it may have acted on the request. 504.
    TargetTimedOut,
}

/// What one code is called in each place that names it.
struct Row {
    code: ErrorCode,
    wire: u8,
    status: u16,
    name: &'static str,
    reason: &'static str,
}

const fn row(
    code: ErrorCode,
    wire: u8,
    status: u16,
    name: &'static str,
    reason: &'static str,
) -> Row {
    Row {
        code,
        wire,
        status,
        name,
        reason,
    }
}

/// In the order of the enum, so that a code's row is found by its discriminant.
///
/// A wire number is never given to another code, since agents outlive gateways.
#[rustfmt::skip]
const ROWS: [Row; 23] = [
    row(ErrorCode::InvalidRequest, 2, 400, "INVALID_REQUEST", "BadRequest"),
    row(ErrorCode::Unauthorized, 3, 401, "UNAUTHORIZED", "Unauthorized"),
    row(ErrorCode::Forbidden, 4, 403, "FORBIDDEN", "Forbidden"),
    row(ErrorCode::ScopeMissing, 5, 403, "SCOPE_MISSING", "Forbidden"),
    row(ErrorCode::NotFound, 6, 404, "NOT_FOUND", "NotFound"),
    row(ErrorCode::ClusterUnknown, 7, 404, "CLUSTER_UNKNOWN", "NotFound"),
    row(ErrorCode::ServiceUnknown, 8, 404, "SERVICE_UNKNOWN", "NotFound"),
    row(ErrorCode::MethodNotAllowed, 9, 405, "METHOD_NOT_ALLOWED", "MethodNotAllowed"),
    row(ErrorCode::Conflict, 21, 409, "CONFLICT", "Conflict"),
    row(ErrorCode::PayloadTooLarge, 22, 413, "PAYLOAD_TOO_LARGE", "RequestEntityTooLarge"),
    row(ErrorCode::UriTooLong, 20, 414, "URI_TOO_LONG", "BadRequest"),
    row(ErrorCode::MisdirectedRequest, 10, 421, "MISDIRECTED_REQUEST", "BadRequest"),
    row(ErrorCode::UpgradeRequired, 23, 426, "UPGRADE_REQUIRED", "BadRequest"),
    row(ErrorCode::TooManyRequests, 11, 429, "TOO_MANY_REQUESTS", "TooManyRequests"),
    row(ErrorCode::HeadersTooLarge, 12, 431, "HEADERS_TOO_LARGE", "BadRequest"),
    row(ErrorCode::Internal, 1, 500, "INTERNAL_ERROR", "InternalError"),
    row(ErrorCode::TargetRefused, 13, 502, "TARGET_REFUSED", "ServiceUnavailable"),
    row(ErrorCode::TargetFailed, 14, 502, "TARGET_FAILED", "InternalError"),
    row(ErrorCode::Unavailable, 15, 503, "SERVICE_UNAVAILABLE", "ServiceUnavailable"),
    row(ErrorCode::AgentNotConnected, 16, 503, "AGENT_NOT_CONNECTED", "ServiceUnavailable"),
    row(ErrorCode::AgentDraining, 17, 503, "AGENT_DRAINING", "ServiceUnavailable"),
    row(ErrorCode::TooManyStreams, 18, 503, "TOO_MANY_STREAMS", "ServiceUnavailable"),
    row(ErrorCode::TargetTimedOut, 19, 504, "TARGET_TIMED_OUT", "Timeout"),
];

impl ErrorCode {
    /// Every code, in the order of the enum.
    pub fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.code)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The HTTP status code, 400 to 599.
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// The name in JSON and in metric labels, such as `"TARGET_TIMED_OUT"`.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The `reason` of a Kubernetes `meta/v1` `Status` (`StatusReason` in
    /// `k8s.io/apimachinery/pkg/apis/meta/v1/types.go`), which clients branch on.
    ///
    /// 414, 421, 426 and 431 have none there; `BadRequest` is what `client-go` treats as the caller's fault.
    /// `TargetFailed` is not `ServiceUnavailable`, since the target may have acted already.
    pub fn kubernetes_reason(self) -> &'static str {
        self.row().reason
    }

    /// Whether the same request may be sent again later with a chance of success and without the
    /// risk of being carried out twice: the target never saw it.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::TooManyRequests
                | Self::TargetRefused
                | Self::Unavailable
                | Self::AgentNotConnected
                | Self::AgentDraining
                | Self::TooManyStreams
        )
    }

    /// The byte that stands for the code between agent and gateway; never 0.
    pub fn to_u8(self) -> u8 {
        self.row().wire
    }

    /// The code of a byte; one that this version does not know reads as [`ErrorCode::Internal`].
    pub fn from_u8(byte: u8) -> Self {
        ROWS.iter()
            .find(|row| row.wire == byte)
            .map_or(Self::Internal, |row| row.code)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is no [`ErrorCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an error code")]
pub struct UnknownErrorCode;

impl FromStr for ErrorCode {
    type Err = UnknownErrorCode;

    fn from_str(name: &str) -> Result<Self, UnknownErrorCode> {
        ROWS.iter()
            .find(|row| row.name == name)
            .map(|row| row.code)
            .ok_or(UnknownErrorCode)
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(de::Error::custom)
    }
}

/// One failure as the user reads it. Nothing in it may be a secret.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ApiError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// What happened, in a sentence for a person.
    pub message: String,
    /// Machine-readable particulars, such as `field` and `reason`; may be empty.
    pub details: Map<String, Value>,
}

impl ApiError {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Map::new(),
        }
    }

    /// Adds or replaces one detail.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.details.insert(key.into(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_enum() {
        for (at, row) in ROWS.iter().enumerate() {
            assert_eq!(row.code as usize, at);
        }
    }

    #[test]
    fn the_contracts_statuses_have_the_codes_of_their_names() {
        for (name, status) in [
            ("INVALID_REQUEST", 400),
            ("UNAUTHORIZED", 401),
            ("FORBIDDEN", 403),
            ("NOT_FOUND", 404),
            ("TOO_MANY_REQUESTS", 429),
            ("INTERNAL_ERROR", 500),
            ("SERVICE_UNAVAILABLE", 503),
        ] {
            assert_eq!(name.parse().map(ErrorCode::status), Ok(status));
        }
    }

    #[test]
    fn every_code_round_trips() {
        for code in ErrorCode::all() {
            assert_eq!(ErrorCode::from_u8(code.to_u8()), code);
            assert_eq!(code.as_str().parse(), Ok(code));
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{}\"", code.as_str()));
            assert_eq!(serde_json::from_str::<ErrorCode>(&json).unwrap(), code);
        }
    }

    #[test]
    fn wire_bytes_and_names_are_distinct() {
        let bytes: HashSet<u8> = ROWS.iter().map(|row| row.wire).collect();
        let names: HashSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!((bytes.len(), names.len()), (ROWS.len(), ROWS.len()));
        assert!(!bytes.contains(&0));
    }

    #[test]
    fn unknown_bytes_read_as_internal() {
        for byte in [0, 24, 255] {
            assert_eq!(ErrorCode::from_u8(byte), ErrorCode::Internal);
        }
        assert_eq!("internal_error".parse::<ErrorCode>(), Err(UnknownErrorCode));
    }

    #[test]
    fn only_what_the_target_never_saw_is_retryable() {
        assert!(ErrorCode::TargetRefused.retryable());
        assert!(!ErrorCode::TargetFailed.retryable());
        assert!(!ErrorCode::TargetTimedOut.retryable());
        assert!(!ErrorCode::InvalidRequest.retryable());
    }

    #[test]
    fn an_error_reads_as_code_and_message() {
        let err = ApiError::new(ErrorCode::NotFound, "no such page").with_detail("path", "/x");
        assert_eq!(err.to_string(), "NOT_FOUND: no such page");
        assert_eq!(err.details["path"], "/x");
    }
}
