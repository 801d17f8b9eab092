//! From a request's headers to a grant, in the words that a client is told.

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::directory::{AuthError, Denied, Grant};
use super::metrics::AuthFailure;
use super::shared::Shared;
use super::worker::Worker;
use crate::http::headers;
use crate::wire::error::{ApiError, ErrorCode};

impl Shared {
    /// Authenticates a request by its bearer token.
    ///
    /// # Errors
    /// 401 without a valid token, 400 for an ambiguous one.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Grant>, ApiError> {
        let token =
            headers::bearer(headers).inspect_err(|_| self.auth_failed(AuthFailure::Ambiguous))?;
        let Some(token) = token else {
            self.auth_failed(AuthFailure::Missing);
            return Err(ApiError::new(
                ErrorCode::Unauthorized,
                "a token is needed: send `Authorization: Bearer …`",
            ));
        };
        Ok(self
            .directory
            .authenticate(token.expose_secret(), Timestamp::now())
            .inspect_err(|error| self.auth_failed(error.into()))?)
    }

    fn auth_failed(&self, why: AuthFailure) {
        self.metrics.auth_failures.get(why).inc();
    }
}

impl Worker {
    /// As [`Shared::authenticate`].
    ///
    /// # Errors
    /// The same.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Grant>, ApiError> {
        self.shared.authenticate(headers)
    }

    /// Counts a refusal.
    pub(super) fn auth_failed(&self, why: AuthFailure) {
        self.shared.auth_failed(why);
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        Self::new(ErrorCode::Unauthorized, error.to_string())
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        let code = match denied {
            Denied::Scope { .. } => ErrorCode::ScopeMissing,
            Denied::Kind { .. } | Denied::Cluster { .. } => ErrorCode::Forbidden,
        };
        Self::new(code, denied.to_string())
    }
}
