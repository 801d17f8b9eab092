//! What the platform API refuses, in the tunnel's own errors.

use std::fmt;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::gateway::directory::DirectoryError;
use crate::http::error;
use crate::wire::error::{ApiError, ErrorCode};

/// A field breaks its rule. `what` is the field in words, `reason` the rule.
pub(in crate::gateway) fn field(field: &str, what: &str, reason: &dyn fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, format!("Invalid {what}"))
        .with_detail("field", field)
        .with_detail("reason", reason.to_string())
}

/// A body or query that can not be read, in the words of who tried.
pub(in crate::gateway) fn unreadable(status: StatusCode, message: String) -> ApiError {
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::PayloadTooLarge,
        _ => ErrorCode::InvalidRequest,
    };
    ApiError::new(code, message)
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        let message = error.to_string();
        match error {
            DirectoryError::UnknownCluster { name, similar } => {
                Self::new(ErrorCode::NotFound, message)
                    .with_detail("cluster", name.as_str())
                    .with_detail("similar", json!(similar))
            }
            DirectoryError::UnknownClusterId(_) | DirectoryError::UnknownToken(_) => {
                Self::new(ErrorCode::NotFound, message)
            }
            DirectoryError::Conflict { name, id } => Self::new(ErrorCode::Conflict, message)
                .with_detail("cluster", name.as_str())
                .with_detail("cluster_id", id.as_str()),
            DirectoryError::AlreadyExpired { .. } => Self::new(ErrorCode::InvalidRequest, message)
                .with_detail("field", "expires_at")
                .with_detail("reason", "must be later than now"),
            DirectoryError::Interrupted => Self::new(ErrorCode::Unavailable, message),
            DirectoryError::Store(_) | DirectoryError::Random(_) | DirectoryError::Format(_) => {
                Self::new(ErrorCode::Internal, with_causes(&error))
            }
        }
    }
}

/// The operator is the one who can repair the machine, so the causes are said.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        error::response(&self, false, None).map(Body::new)
    }
}
