//! The log's one event for each request that went to a cluster.

use std::net::SocketAddr;

use http::{Method, StatusCode};

use crate::http::exchange::ExchangeError;
use crate::metrics::{Label, Outcome, Request};
use crate::relay::RelayError;
use crate::wire::error::{ApiError, ErrorCode};

/// What is known of a request; logged when dropped.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) request_id: String,
    pub(super) peer: SocketAddr,
    pub(super) subject: String,
    pub(super) token_id: String,
    pub(super) cluster: String,
    pub(super) service: String,
    pub(super) method: Method,
    /// Without the query, which may hold what nobody should read.
    pub(super) path: String,
    pub(super) status: Option<StatusCode>,
    /// When it began, the bytes of its bodies, and how it ends.
    pub(super) counted: Request,
    pub(super) reason: Option<String>,
}

impl Record {
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        self.counted.outcome = outcome;
    }

    /// Notes the error that the client is answered with.
    pub(super) fn refused(&mut self, error: &ApiError) {
        self.outcome(Outcome::Refused);
        // Only an agent says so, and only of a service that it has.
        if matches!(
            error.code,
            ErrorCode::TargetRefused | ErrorCode::TargetFailed
        ) {
            self.counted.exists(&self.service);
        }
        self.status = StatusCode::from_u16(error.code.status()).ok();
        self.reason = Some(error.message.clone());
    }

    /// Notes the status of the response, whose head has come.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
        self.counted.answered(&self.service);
    }

    /// Notes how an upgraded connection ended.
    pub(super) fn relayed(&mut self, relayed: Result<(), RelayError>) {
        match relayed {
            Ok(()) => self.outcome(Outcome::Complete),
            Err(RelayError::Exchange(error)) => self.failed(&error),
            Err(error) => self.reason = Some(error.to_string()),
        }
    }

    /// Notes an error that came after the response's head.
    pub(super) fn failed(&mut self, error: &ExchangeError) {
        match error {
            ExchangeError::Reset(error) => self.counted.failed(error.code),
            ExchangeError::Cut | ExchangeError::Io(_) | ExchangeError::Protocol(_) => {
                self.outcome(Outcome::Cut);
            }
        }
        self.reason = Some(error.to_string());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        tracing::info!(
            target: "access",
            request_id = self.request_id,
            peer = %self.peer,
            subject = self.subject,
            token_id = self.token_id,
            cluster = self.cluster,
            service = self.service,
            method = %self.method,
            path = self.path,
            status = self.status.map(|status| status.as_u16()),
            bytes_sent = self.counted.sent.get(),
            bytes_received = self.counted.received.get(),
            duration_ms = u64::try_from(self.counted.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome = self.counted.outcome.text(),
            reason = self.reason,
            "request"
        );
    }
}
