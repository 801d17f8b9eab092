//! Errors in the contract's form: `{"error":{"code","message","details"}}`.

use std::fmt;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::gateway::directory::DirectoryError;

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The one member.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorDetail {
    /// For programs, such as `INVALID_REQUEST`.
    pub code: String,
    /// For people.
    pub message: String,
    /// What the message is about, such as `field` and `reason`.
    #[serde(default)]
    pub details: Map<String, Value>,
}

impl fmt::Display for ErrorDetail {
    /// For a terminal, where the details would be lost: the message and, if there is one, the reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.details.get("reason").and_then(Value::as_str) {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// An error and the status it goes with.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", body.error)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: ErrorBody,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let error = ErrorDetail {
            code: code.to_owned(),
            message: message.into(),
            details: Map::new(),
        };
        Self {
            status,
            body: ErrorBody { error },
        }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body.error.details.insert(key.to_owned(), value.into());
        self
    }

    /// A field breaks its rule. `what` is the field in words, `reason` the rule.
    pub(super) fn field(field: &str, what: &str, reason: &dyn fmt::Display) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "INVALID_REQUEST",
            format!("Invalid {what}"),
        )
        .with("field", field)
        .with("reason", reason.to_string())
    }

    pub(super) fn body(status: StatusCode, message: String) -> Self {
        Self::new(status, "INVALID_REQUEST", message)
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "METHOD_NOT_ALLOWED",
            "this path does not take this method",
        )
    }

    pub(super) fn deadline() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "DEADLINE_EXCEEDED",
            "the gateway did not finish in time; whether the change was made is not known: look, then try again",
        )
    }
}

impl From<DirectoryError> for ApiError {
    fn from(error: DirectoryError) -> Self {
        let message = error.to_string();
        match error {
            DirectoryError::UnknownCluster { name, similar } => Self::not_found(&message)
                .with("cluster", name.as_str())
                .with("similar", json!(similar)),
            DirectoryError::UnknownClusterId(_) | DirectoryError::UnknownToken(_) => {
                Self::not_found(&message)
            }
            DirectoryError::Conflict { name, id } => {
                Self::new(StatusCode::CONFLICT, "CONFLICT", message)
                    .with("cluster", name.as_str())
                    .with("cluster_id", id.as_str())
            }
            DirectoryError::AlreadyExpired { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
                    .with("field", "expires_at")
                    .with("reason", "must be later than now")
            }
            DirectoryError::Interrupted => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE", message)
            }
            DirectoryError::Store(_) | DirectoryError::Random(_) | DirectoryError::Format(_) => {
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "INTERNAL",
                    with_causes(&error),
                )
            }
        }
    }
}

/// The operator is the one who can repair the machine, so the causes are said.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}
