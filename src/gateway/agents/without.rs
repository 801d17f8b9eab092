//! Why a request gets no carrier, in words for its client.

use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::token::ClusterName;

/// What a request lacks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Without {
    /// No agent is connected.
    Agent,
    /// The only agent drains.
    Successor,
    /// An agent is connected and has not opened a carrier.
    Carrier,
    /// All carriers are full.
    Room,
}

impl Without {
    pub(super) fn into_api_error(self, cluster: &ClusterName) -> ApiError {
        let (code, message) = match self {
            Self::Agent => (
                ErrorCode::AgentNotConnected,
                format!(
                    "no agent of cluster '{cluster}' is connected; check that pipeops-agent runs in the cluster and \
                     can reach the gateway"
                ),
            ),
            Self::Successor => (
                ErrorCode::AgentDraining,
                format!(
                    "the agent of cluster '{cluster}' is shutting down and no other has taken over yet; try again \
                     shortly"
                ),
            ),
            Self::Carrier => (
                ErrorCode::AgentNotConnected,
                format!(
                    "the agent of cluster '{cluster}' is connected but has not opened a data connection; see its log"
                ),
            ),
            Self::Room => (
                ErrorCode::TooManyStreams,
                format!(
                    "too many requests are under way to cluster '{cluster}'; try again shortly"
                ),
            ),
        };
        ApiError::new(code, message)
    }
}
