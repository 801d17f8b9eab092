//! The log's one event for each request that went to a cluster.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use tokio::time::Instant;

use crate::http::body::Meter;
use crate::http::exchange::ExchangeError;
use crate::wire::error::ApiError;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Both directions came to their end.
    Complete,
    /// The client went away first.
    ClientGone,
    /// The agent or the target gave up in mid-response.
    Cut,
    /// The token ended first.
    Revoked,
    /// Answered with an error of our own.
    Refused,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::Cut => "cut",
            Self::Revoked => "revoked",
            Self::Refused => "refused",
        }
    }
}

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
    /// Bytes of bodies towards the cluster.
    pub(super) sent: Meter,
    /// Bytes of bodies from the cluster.
    pub(super) received: Meter,
    pub(super) begun: Instant,
    pub(super) outcome: Outcome,
    pub(super) reason: Option<String>,
}

impl Record {
    pub(super) fn outcome(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Notes the error that the client is answered with.
    pub(super) fn refused(&mut self, error: &ApiError) {
        self.outcome = Outcome::Refused;
        self.status = StatusCode::from_u16(error.code.status()).ok();
        self.reason = Some(error.message.clone());
    }

    /// Notes an error that came after the response's head.
    pub(super) fn failed(&mut self, error: &ExchangeError) {
        self.outcome = Outcome::Cut;
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
            bytes_sent = self.sent.get(),
            bytes_received = self.received.get(),
            duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome = self.outcome.as_str(),
            reason = self.reason,
            "request"
        );
    }
}
