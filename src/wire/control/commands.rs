//! What the platform has an agent do, and what comes of it.
//!
//! A command's id is its envelope's. What is said about it names it as `command_id`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// On whose behalf a command is given; without, it is made in the agent's default role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requester {
    /// A person or a program, for the cluster's audit log.
    pub subject: String,
    /// `viewer`, `editor` or `admin`: the account in the cluster that it is made as.
    pub role: String,
}

/// Apply manifests in one namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deploy {
    /// Whose they are; all objects get it as the label `pipeops.io/project`.
    pub project_id: String,
    /// One or more documents of YAML or JSON.
    pub manifest: String,
    /// Where all that has a namespace goes; a document that names another is refused.
    pub namespace: String,
    /// Checked with the API server, and nothing applied.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Milliseconds that the rollout may take; the agent's own limit where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Not begun after this. Compared with the clock of the agent, which may be wrong by some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// Delete objects that a project has; what does not carry its labels is left alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prune {
    /// Whose.
    pub project_id: String,
    /// Where.
    pub namespace: String,
    /// Which.
    pub objects: Vec<ObjectRef>,
    /// As in [`Deploy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
}

/// Run a command in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exec {
    /// The pod.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// The container; the pod's default one where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Program and arguments; no shell is involved.
    pub command: Vec<String>,
    /// Input follows as [`ExecInput`]; without, the program reads end-of-file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin: bool,
    /// In a terminal: its output is all `stdout`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tty: bool,
    /// Milliseconds after which it is given up; the agent's own limit where it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// As in [`Deploy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
    /// Bytes of output that may be sent before [`Credit`] gives more; without, as much as the
    /// connection takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<u64>,
}

/// Read a container's log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Logs {
    /// The pod.
    pub pod: String,
    /// Its namespace.
    pub namespace: String,
    /// The container; may be left out where the pod has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Only so many of the last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail_lines: Option<u64>,
    /// Go on with what is written from now on.
    #[serde(default)]
    pub follow: bool,
    /// Only what was written from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Of the container that ran before it was restarted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub previous: bool,
    /// Each line begins with its time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub timestamps: bool,
    /// As in [`Deploy`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<Requester>,
    /// As in [`Exec`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<u64>,
}

/// One object of Kubernetes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "gateway", derive(utoipa::ToSchema))]
pub struct ObjectRef {
    /// `apps/v1`
    pub api_version: String,
    /// `Deployment`
    pub kind: String,
    /// None for what has no namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// A message has arrived and is seen to. The agent answers each command with it, the gateway each
/// `…_result` and `logs_end`: until then they are sent again after a reconnect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ack {
    /// The command's id.
    pub command_id: String,
}

/// How far a deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeployStatus {
    /// The command.
    pub command_id: String,
    /// The step that it is at.
    pub phase: DeployPhase,
    /// What it waits for, in a sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The objects, in the order in which they are applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectStatus>,
}

/// A step of a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "gateway", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeployPhase {
    /// The documents are read and tried.
    Validating,
    /// They are being applied.
    Applying,
    /// Applied; what they describe comes about.
    RollingOut,
    /// A word that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What has become of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "gateway", derive(utoipa::ToSchema))]
pub struct ObjectStatus {
    /// Which.
    #[serde(flatten)]
    pub object: ObjectRef,
    /// `created`, `configured`, `unchanged`, `deleted`, `absent`, `kept` or `failed`; none before its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Whether it does what it is for.
    #[serde(default)]
    pub ready: bool,
    /// Why it is not ready, in Kubernetes' own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a command has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "gateway", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Succeeded,
    /// It did not work out; what was applied stays.
    Failed,
    /// Not within its time.
    TimedOut,
    /// Not begun: the agent's policy, or the command itself is at fault.
    Refused,
    /// Not begun: too late.
    Expired,
    /// Given up because of [`Cancel`].
    Cancelled,
    /// Nobody knows: the agent was restarted meanwhile. Also a word that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What has come of a [`Deploy`] or a [`Prune`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeployResult {
    /// The command.
    pub command_id: String,
    /// How it has ended.
    pub outcome: Outcome,
    /// The objects, in the order in which they were applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectStatus>,
    /// Why it has not succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CommandError>,
}

/// Why a command has not succeeded, as in the contract's error responses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[cfg_attr(feature = "gateway", derive(utoipa::ToSchema))]
pub struct CommandError {
    /// A code of the contract (`INVALID_REQUEST`, `FORBIDDEN`).
    pub code: String,
    /// A sentence.
    pub message: String,
    /// `document` (from 1), `kind`, `field` and the like.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

/// Bytes as text where they are UTF-8, else as base64.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Encoding {
    /// As they are.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// RFC 4648 section 4, with padding.
    #[serde(rename = "base64")]
    Base64,
}

/// Which output of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Output of an [`Exec`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecOutput {
    /// The command.
    pub command_id: String,
    /// Counts the outputs of this command from 1.
    pub sequence: u64,
    /// Which.
    pub stream: OutputStream,
    /// How `data` is to be read.
    #[serde(default)]
    pub encoding: Encoding,
    /// At most [`MAX_OUTPUT`](crate::wire::limits::MAX_OUTPUT) bytes before they were encoded.
    pub data: String,
}

/// Input for an [`Exec`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecInput {
    /// The command.
    pub command_id: String,
    /// How `data` is to be read.
    #[serde(default)]
    pub encoding: Encoding,
    /// Bytes for standard input.
    #[serde(default)]
    pub data: String,
    /// No more follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
    /// The terminal has this size from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<TerminalSize>,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// How an [`Exec`] has ended; all of its output has been sent before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecResult {
    /// The command.
    pub command_id: String,
    /// `succeeded` whenever the program ran to its end, whatever its exit code is.
    pub outcome: Outcome,
    /// What the program said, where it ran to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it did not run to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CommandError>,
}

/// A piece of the log that [`Logs`] asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogsOutput {
    /// The command.
    pub command_id: String,
    /// Counts the pieces from 1.
    pub sequence: u64,
    /// How `data` is to be read.
    #[serde(default)]
    pub encoding: Encoding,
    /// Bytes of the log, at most [`MAX_OUTPUT`](crate::wire::limits::MAX_OUTPUT) before they were encoded; a line may go on in the next.
    pub data: String,
}

/// The end of a log; all of it has been sent before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LogsEnd {
    /// The command.
    pub command_id: String,
    /// How it has ended.
    pub outcome: Outcome,
    /// Why it is not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CommandError>,
}

/// So many more bytes of output may be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Credit {
    /// The command.
    pub command_id: String,
    /// Added to what is left.
    pub bytes: u64,
}

/// Give a command up. It ends with its result, as always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cancel {
    /// The command.
    pub command_id: String,
    /// For the log.
    #[serde(default)]
    pub reason: String,
}
