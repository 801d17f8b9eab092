//! What the gateway's metrics are told apart by.

use std::io;

use http::StatusCode;
use tokio::time::error::Elapsed;

use crate::gateway::directory::{AuthError, Denied};
use crate::metrics::label;

label! {
    /// The HTTP version of a request.
    pub(in crate::gateway) HttpVersion as "version" {
        /// HTTP/1.1, and 1.0 where somebody speaks it.
        H1 = "1.1",
        /// HTTP/2.
        H2 = "2",
    }
}

label! {
    /// The class of a response's status.
    pub(in crate::gateway) StatusClass as "status" {
        /// Switched to another protocol.
        Informational = "1xx",
        /// Success.
        Success = "2xx",
        /// Elsewhere.
        Redirection = "3xx",
        /// The client's fault.
        ClientError = "4xx",
        /// The target's, the agent's or ours.
        ServerError = "5xx",
    }
}

label! {
    /// Why a token or a ticket did not do.
    pub(in crate::gateway) AuthFailure as "reason" {
        /// None was sent.
        Missing = "missing",
        /// More than one was sent.
        Ambiguous = "ambiguous",
        /// Not the form of a token.
        Malformed = "malformed",
        /// No such token.
        Unknown = "unknown",
        /// The token exists and its secret is another.
        WrongSecret = "wrong_secret",
        /// It was revoked.
        Revoked = "revoked",
        /// Its time is over.
        Expired = "expired",
        /// An agent's token for a user's request, or the other way round.
        Kind = "kind",
        /// It is for other clusters.
        Cluster = "cluster",
        /// It lacks the scope.
        Scope = "scope",
        /// An agent that says it is of another cluster than its token.
        ClusterId = "cluster_id",
        /// A carrier's ticket that is unknown, used or too old.
        Ticket = "ticket",
    }
}

label! {
    /// How a TLS handshake went.
    pub(in crate::gateway) TlsResult as "result" {
        /// Well.
        Ok = "ok",
        /// It was not over in time.
        TimedOut = "timed_out",
        /// The client went away.
        Closed = "closed",
        /// The client refused our certificate, or whatever else it says in an alert.
        Rejected = "rejected",
        /// What the client sent is no TLS that goes with ours.
        Protocol = "protocol",
    }
}

label! {
    /// What became of a QUIC connection that somebody began.
    pub(in crate::gateway) QuicResult as "result" {
        /// A carrier.
        Ok = "ok",
        /// It was told to show that it is at its address.
        Retried = "retried",
        /// It was not begun with a ticket that is outstanding.
        NoTicket = "no_ticket",
        /// Too many were under way, or none was wanted any more.
        Busy = "busy",
        /// It was not over in time.
        TimedOut = "timed_out",
        /// The handshake failed, or the ticket did.
        Failed = "failed",
    }
}

impl From<StatusCode> for StatusClass {
    fn from(status: StatusCode) -> Self {
        match status.as_u16() / 100 {
            1 => Self::Informational,
            2 => Self::Success,
            3 => Self::Redirection,
            4 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

impl From<&AuthError> for AuthFailure {
    fn from(error: &AuthError) -> Self {
        match error {
            AuthError::Malformed(_) => Self::Malformed,
            AuthError::Unknown => Self::Unknown,
            AuthError::WrongSecret => Self::WrongSecret,
            AuthError::Revoked => Self::Revoked,
            AuthError::Expired { .. } => Self::Expired,
        }
    }
}

impl From<&Denied> for AuthFailure {
    fn from(denied: &Denied) -> Self {
        match denied {
            Denied::Kind { .. } => Self::Kind,
            Denied::Cluster { .. } => Self::Cluster,
            Denied::Scope { .. } => Self::Scope,
        }
    }
}

impl TlsResult {
    /// The result of a handshake under a deadline.
    pub(in crate::gateway) fn of<T>(handshake: &Result<io::Result<T>, Elapsed>) -> Self {
        let error = match handshake {
            Ok(Ok(_)) => return Self::Ok,
            Ok(Err(error)) => error,
            Err(_) => return Self::TimedOut,
        };
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::AlertReceived(_)) => Self::Rejected,
            Some(_) => Self::Protocol,
            None => Self::Closed,
        }
    }
}
