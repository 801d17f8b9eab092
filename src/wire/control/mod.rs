//! The control channel's messages: `{type, id, timestamp, payload}` as JSON text.
//!
//! One enum for both directions; `proto/README.md` lists them. Unknown types and fields are
//! tolerated, so that either program may be the newer one. `session` has what is about the
//! connection, `reports` what agents say of their clusters, `commands` what they are to do.

mod commands;
mod reports;
mod session;

pub use commands::{
    Ack, Cancel, CommandError, Credit, Deploy, DeployPhase, DeployResult, DeployStatus, Encoding,
    Exec, ExecInput, ExecOutput, ExecResult, Logs, LogsEnd, LogsOutput, ObjectRef, ObjectStatus,
    Outcome, OutputStream, Prune, Requester, TerminalSize,
};
pub use reports::{ClusterStatus, Event, EventBatch, EventSummary, Health, Heartbeat, UsageSource};
pub use session::{CarrierFailed, Drain, ErrorReport, OpenCarrier, WantCarrier, Welcome};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{MAX_CONTROL_MESSAGE, MAX_ECHOED_ID};

/// The newest version of the control protocol that this code speaks. 2 has `event_batch` and `event_summary`.
pub const PROTOCOL_VERSION: u32 = 2;

/// The header of `GET /v1/agent/connect` with the newest version that the agent speaks; 1 without.
pub const PROTOCOL_HEADER: &str = "x-pipeops-protocol";

/// The header of `GET /v1/agent/connect` that names the agent's process: at most 64 characters, new with each start.
/// What one process has begun, another can not tell the end of.
pub const INSTANCE_HEADER: &str = "x-pipeops-instance";

/// The header of `GET /v1/agent/connect` by which one that only looks says so.
pub const PROBE_HEADER: &str = "x-pipeops-probe";

/// Its value: `pipeops-agent doctor`.
pub const PROBE_DOCTOR: &str = "doctor";

/// Makes [`Message`] and what its types are called, from one list.
macro_rules! messages {
    ($($(#[$doc:meta])* $variant:ident as $name:literal $(of $payload:ident)?,)+) => {
        /// `type` and `payload` of a message.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "type", content = "payload")]
        #[non_exhaustive]
        pub enum Message {
            $($(#[$doc])* #[serde(rename = $name)] $variant(messages!(@payload $variant $($payload)?)),)+
        }

        impl Message {
            /// All types that this version knows.
            pub const TYPES: &'static [&'static str] = &[$($name,)+];

            /// Its type.
            #[must_use]
            pub fn type_name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }
        }
    };
    (@payload $variant:ident) => { $variant };
    (@payload $variant:ident $payload:ident) => { $payload };
}

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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// Unique per sender and connection.
    pub id: String,
    /// When it was made, by the sender's clock; never used for a decision.
    pub timestamp: Timestamp,
    /// `type` and `payload`.
    #[serde(flatten)]
    pub message: Message,
}

messages! {
    /// Gateway to agent, first: who you are here and how to behave.
    Welcome as "welcome",
    /// Gateway to agent: open one carrier.
    OpenCarrier as "open_carrier",
    /// Agent to gateway: a carrier that was asked for did not come about.
    CarrierFailed as "carrier_failed",
    /// Agent to gateway: ask for one more, please.
    WantCarrier as "want_carrier",
    /// Agent to gateway: alive, and how the cluster is.
    Heartbeat as "heartbeat",
    /// Agent to gateway: how large the cluster is and how it does.
    ClusterStatus as "cluster_status",
    /// Agent to gateway: something happened in the cluster.
    Event as "event",
    /// Agent to gateway: several of these.
    EventBatch as "event_batch",
    /// Agent to gateway: so many of these were not reported one by one.
    EventSummary as "event_summary",
    /// Gateway to agent: apply manifests.
    Deploy as "deploy",
    /// Gateway to agent: delete what was applied.
    Prune as "prune",
    /// Gateway to agent: run a command in a container.
    Exec as "exec",
    /// Gateway to agent: read a container's log.
    Logs as "logs",
    /// Both ways: a command, or what has come of it, has arrived.
    Ack as "ack",
    /// Agent to gateway: how far a deployment is.
    DeployStatus as "deploy_status",
    /// Agent to gateway: what has come of `deploy` or `prune`.
    DeployResult as "deploy_result",
    /// Agent to gateway: output of `exec`.
    ExecOutput as "exec_output",
    /// Gateway to agent: input for `exec`.
    ExecInput as "exec_input",
    /// Agent to gateway: how `exec` has ended.
    ExecResult as "exec_result",
    /// Agent to gateway: a piece of a log.
    LogsOutput as "logs_output",
    /// Agent to gateway: the end of a log.
    LogsEnd as "logs_end",
    /// Gateway to agent: so much more output may be sent.
    Credit as "credit",
    /// Gateway to agent: give a command up.
    Cancel as "cancel",
    /// Both ways: expect nothing new here, take new work elsewhere; what runs may end.
    Drain as "drain",
    /// Both ways: something about the other's message was wrong.
    Error as "error" of ErrorReport,
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

/// The JSON Schema of all messages, as in `proto/control.schema.json`.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Envelope).to_value()
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
            if Message::TYPES.contains(&outline.kind.as_str()) {
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
