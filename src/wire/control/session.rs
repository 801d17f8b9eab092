//! Messages about the connection itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the gateway tells an agent that it accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// Names this connection in both programs' logs.
    pub session_id: String,
    /// What both sides speak: the lower of the gateway's [`PROTOCOL_VERSION`](super::PROTOCOL_VERSION)
    /// and the one that the agent asked for in [`PROTOCOL_HEADER`](super::PROTOCOL_HEADER), 1 without.
    pub protocol_version: u32,
    /// The cluster that the token belongs to.
    pub cluster_id: String,
    /// Its name.
    pub cluster_name: String,
    /// Time between heartbeats, in milliseconds; the agent adds jitter of up to a tenth.
    pub heartbeat_interval_ms: u64,
    /// This is a probe, as its header asked: it gets no requests. A gateway that does not know
    /// probes does not say so, and takes whoever asks for an agent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
}

/// A request for one carrier.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OpenCarrier {
    /// Good for one carrier, for [`TICKET_LIFETIME`](crate::wire::limits::TICKET_LIFETIME).
    pub ticket: String,
    /// Kinds of carrier that the gateway takes ([`CarrierKind`](crate::wire::carrier::CarrierKind)); the
    /// agent chooses.
    pub kinds: Vec<String>,
    /// Names the carrier in [`WantCarrier`]; a gateway that does not know that message gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<u64>,
    /// The carrier whose place this one takes, as the agent wanted: once it is up, nothing new
    /// begins on the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<u64>,
}

impl std::fmt::Debug for OpenCarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenCarrier")
            .field("kinds", &self.kinds)
            .field("carrier", &self.carrier)
            .field("replaces", &self.replaces)
            .finish_non_exhaustive()
    }
}

/// Why no carrier came about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CarrierFailed {
    /// For the gateway's log.
    pub reason: String,
}

/// An agent's wish for a carrier that it has something to say about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WantCarrier {
    /// A carrier that is up, by the number of its [`OpenCarrier`].
    pub carrier: u64,
    /// Whether the new one takes its place (by a better way), or comes beside it (it is full).
    pub instead: bool,
}

/// Why a side wants no new work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Drain {
    /// For the log (`shutdown`).
    pub reason: String,
}

/// A complaint about a message, which was not acted on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorReport {
    /// A code of the contract (`INVALID_REQUEST`, `TOO_MANY_REQUESTS`).
    pub code: String,
    /// A sentence for the log.
    pub message: String,
    /// The id of the message, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// With `TOO_MANY_REQUESTS`: the next message is taken after this many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Messages that were not acted on since the last error, this one among them: errors are
    /// sent once a second at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}
