//! The control channel's messages: `{type, id, timestamp, payload}` as JSON text.
//!
//! One enum for both directions; `proto/README.md` lists them. Unknown types and fields are
//! tolerated, so that either program may be the newer one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::limits::{MAX_CONTROL_MESSAGE, MAX_ECHOED_ID};

/// The version of the control protocol, in the `welcome` message.
pub const PROTOCOL_VERSION: u32 = 1;

/// The header of `GET /v1/agent/connect` by which one that only looks says so.
pub const PROBE_HEADER: &str = "x-pipeops-probe";

/// Its value: `pipeops-agent doctor`.
pub const PROBE_DOCTOR: &str = "doctor";

/// What a peer sent that is not a message.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Longer than [`MAX_CONTROL_MESSAGE`] bytes.
    #[error("control message of {0} bytes is above the limit of {MAX_CONTROL_MESSAGE}")]
    TooLarge(usize),
    /// Not JSON, or not an envelope.
    #[error("malformed control message: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// One message with its envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Unique per sender and connection.
    pub id: String,
    /// When it was made, by the sender's clock; never used for a decision.
    pub timestamp: Timestamp,
    /// `type` and `payload`.
    #[serde(flatten)]
    pub message: Message,
}

/// `type` and `payload` of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Message {
    /// Gateway to agent, first: who you are here and how to behave.
    Welcome(Welcome),
    /// Gateway to agent: open one carrier.
    OpenCarrier(OpenCarrier),
    /// Agent to gateway: a carrier that was asked for did not come about.
    CarrierFailed(CarrierFailed),
    /// Agent to gateway: ask for one more, please.
    WantCarrier(WantCarrier),
    /// Agent to gateway: alive, and how the cluster is.
    Heartbeat(Heartbeat),
    /// Both ways: expect nothing new here, take new work elsewhere; what runs may end.
    Drain(Drain),
    /// Both ways: something about the other's message was wrong.
    Error(ErrorReport),
}

/// What the gateway tells an agent that it accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Names this connection in both programs' logs.
    pub session_id: String,
    /// [`PROTOCOL_VERSION`] of the gateway.
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
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenCarrier {
    /// Good for one carrier, for [`TICKET_LIFETIME`](super::limits::TICKET_LIFETIME).
    pub ticket: String,
    /// Kinds of carrier that the gateway takes ([`CarrierKind`](super::carrier::CarrierKind)); the
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CarrierFailed {
    /// For the gateway's log.
    pub reason: String,
}

/// An agent's wish for a carrier that it has something to say about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantCarrier {
    /// A carrier that is up, by the number of its [`OpenCarrier`].
    pub carrier: u64,
    /// Whether the new one takes its place (by a better way), or comes beside it (it is full).
    pub instead: bool,
}

/// The agent's sign of life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// `healthy`, or `degraded` while a configured service can not be served.
    pub status: String,
    /// Figures about the cluster (`cpu_usage`, `memory_usage`, `active_pods`) where known.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

/// Why a side wants no new work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// For the log (`shutdown`).
    pub reason: String,
}

/// A complaint about a message, which was not acted on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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

/// A message as read: known, or of a type that this version does not know.
#[derive(Debug, Clone, PartialEq)]
pub enum Decoded {
    /// Ours to handle.
    Known(Box<Envelope>),
    /// To be counted and passed over.
    Unknown {
        /// The type that it says.
        kind: String,
        /// Its id.
        id: String,
    },
}

impl Envelope {
    /// Puts a message into an envelope.
    #[must_use]
    pub fn new(id: String, timestamp: Timestamp, message: Message) -> Self {
        Self {
            id,
            timestamp,
            message,
        }
    }

    /// The message as JSON text.
    ///
    /// # Errors
    /// [`ControlError::Malformed`] when a figure is not a number that JSON has.
    pub fn encode(&self) -> Result<String, ControlError> {
        Ok(serde_json::to_string(self)?)
    }
}

/// Reads one message.
///
/// # Errors
/// [`ControlError`]; the connection may go on.
pub fn decode(text: &str) -> Result<Decoded, ControlError> {
    #[derive(Deserialize)]
    struct Outline {
        #[serde(rename = "type")]
        kind: String,
        id: String,
    }
    if text.len() > MAX_CONTROL_MESSAGE {
        return Err(ControlError::TooLarge(text.len()));
    }
    match serde_json::from_str::<Envelope>(text) {
        Ok(envelope) => Ok(Decoded::Known(Box::new(envelope))),
        Err(error) => {
            let outline: Outline = serde_json::from_str(text)?;
            if is_known(&outline.kind) {
                return Err(error.into());
            }
            Ok(Decoded::Unknown {
                kind: outline.kind,
                id: outline.id,
            })
        }
    }
}

/// The id of a message that is not acted on, for the answer; whatever else is wrong with it.
#[must_use]
pub fn id_of(text: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Outline {
        id: String,
    }
    let outline: Outline = serde_json::from_str(text).ok()?;
    Some(outline.id).filter(|id| id.len() <= MAX_ECHOED_ID)
}

fn is_known(kind: &str) -> bool {
    [
        "welcome",
        "open_carrier",
        "carrier_failed",
        "want_carrier",
        "heartbeat",
        "drain",
        "error",
    ]
    .contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_heartbeat_is_read() {
        let text = r#"{"type":"heartbeat","id":"msg-001","timestamp":"2024-01-15T10:30:45Z",
            "payload":{"status":"healthy","metrics":{"cpu_usage":0.25,"memory_usage":0.35,"active_pods":15}}}"#;
        let Decoded::Known(envelope) = decode(text).unwrap() else {
            panic!("known")
        };
        let Message::Heartbeat(beat) = envelope.message else {
            panic!("heartbeat")
        };
        assert_eq!(beat.metrics["active_pods"], 15.0);
        assert_eq!(envelope.id, "msg-001");
    }

    #[test]
    fn messages_survive_the_wire() {
        for message in [
            Message::Drain(Drain {
                reason: "shutdown".into(),
            }),
            Message::OpenCarrier(OpenCarrier {
                ticket: "t".into(),
                kinds: vec!["tls".into()],
                carrier: Some(7),
                replaces: None,
            }),
            Message::WantCarrier(WantCarrier {
                carrier: 7,
                instead: true,
            }),
        ] {
            let envelope = Envelope::new("1".into(), Timestamp::UNIX_EPOCH, message);
            let text = envelope.encode().unwrap();
            assert_eq!(decode(&text).unwrap(), Decoded::Known(Box::new(envelope)));
        }
    }

    #[test]
    fn unknown_types_and_fields_are_tolerated() {
        let text = r#"{"type":"dance","id":"1","timestamp":"2024-01-15T10:30:45Z","payload":{}}"#;
        assert!(matches!(decode(text).unwrap(), Decoded::Unknown { kind, .. } if kind == "dance"));
        let text = r#"{"type":"drain","id":"1","timestamp":"2024-01-15T10:30:45Z","more":1,
            "payload":{"reason":"x","more":2}}"#;
        assert!(matches!(decode(text).unwrap(), Decoded::Known(_)));
    }

    #[test]
    fn a_known_type_with_a_wrong_payload_is_malformed() {
        let text = r#"{"type":"drain","id":"1","timestamp":"2024-01-15T10:30:45Z","payload":7}"#;
        assert!(matches!(decode(text), Err(ControlError::Malformed(_))));
        assert!(matches!(decode("{"), Err(ControlError::Malformed(_))));
    }

    #[test]
    fn an_id_is_read_of_whatever_has_one_that_is_short() {
        let of = |id: &str| id_of(&format!(r#"{{"type":"drain","id":"{id}","payload":7}}"#));
        assert_eq!(of("m-1").as_deref(), Some("m-1"));
        assert_eq!(of(&"x".repeat(MAX_ECHOED_ID + 1)), None);
        assert_eq!(id_of("{"), None);
        assert_eq!(id_of(r#"{"id":7}"#), None);
    }

    #[test]
    fn an_error_of_an_older_gateway_is_read() {
        let text = r#"{"type":"error","id":"1","timestamp":"2024-01-15T10:30:45Z",
            "payload":{"code":"INVALID_REQUEST","message":"no"}}"#;
        let Decoded::Known(envelope) = decode(text).unwrap() else {
            panic!("known")
        };
        let report = ErrorReport {
            code: "INVALID_REQUEST".into(),
            message: "no".into(),
            ..ErrorReport::default()
        };
        assert_eq!(envelope.message, Message::Error(report));
        assert!(!envelope.encode().unwrap().contains("refused"));
    }

    #[test]
    fn tickets_stay_out_of_debug_output() {
        let message = OpenCarrier {
            ticket: "s3cret".into(),
            kinds: vec![],
            carrier: None,
            replaces: None,
        };
        assert!(!format!("{message:?}").contains("s3cret"));
    }
}
