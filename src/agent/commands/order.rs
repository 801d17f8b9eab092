//! What all commands have in common.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each function is about the few messages that it names"
)]

use jiff::Timestamp;

use crate::wire::control::{
    CommandError, DeployResult, ExecResult, LogsEnd, Message, Outcome, Requester,
};
use crate::wire::error::ErrorCode;

/// A command, or what is said about one, as it came.
#[derive(Debug)]
pub(in crate::agent) struct Order {
    /// The message's id: a command's own.
    pub(in crate::agent) id: String,
    pub(in crate::agent) message: Message,
}

/// Whether a message is one for the dispatcher.
pub(in crate::agent) fn is_order(message: &Message) -> bool {
    matches!(
        message,
        Message::Deploy(_)
            | Message::Prune(_)
            | Message::Exec(_)
            | Message::Logs(_)
            | Message::Ack(_)
            | Message::ExecInput(_)
            | Message::Credit(_)
            | Message::Cancel(_)
    )
}

pub(super) fn expires_at(command: &Message) -> Option<Timestamp> {
    match command {
        Message::Deploy(command) => command.expires_at,
        Message::Prune(command) => command.expires_at,
        Message::Exec(command) => command.expires_at,
        Message::Logs(command) => command.expires_at,
        _ => None,
    }
}

pub(super) fn requester(command: &Message) -> Option<&Requester> {
    match command {
        Message::Deploy(command) => command.requested_by.as_ref(),
        Message::Prune(command) => command.requested_by.as_ref(),
        Message::Exec(command) => command.requested_by.as_ref(),
        Message::Logs(command) => command.requested_by.as_ref(),
        _ => None,
    }
}

pub(super) fn credit(command: &Message) -> Option<u64> {
    match command {
        Message::Exec(command) => command.credit,
        Message::Logs(command) => command.credit,
        _ => None,
    }
}

/// The result of a command that was not carried out; none for what is no command.
pub(in crate::agent) fn ended(
    id: &str,
    command: &Message,
    outcome: Outcome,
    error: Option<CommandError>,
) -> Option<Message> {
    let command_id = id.to_owned();
    match command {
        Message::Exec(_) => Some(Message::ExecResult(ExecResult {
            command_id,
            outcome,
            error,
            ..ExecResult::default()
        })),
        Message::Logs(_) => Some(Message::LogsEnd(LogsEnd {
            command_id,
            outcome,
            error,
        })),
        Message::Deploy(_) | Message::Prune(_) => Some(Message::DeployResult(DeployResult {
            command_id,
            outcome,
            error,
            ..DeployResult::default()
        })),
        _ => None,
    }
}

/// The command that a result is of.
pub(super) fn command_id(result: &Message) -> &str {
    match result {
        Message::DeployResult(result) => &result.command_id,
        Message::ExecResult(result) => &result.command_id,
        Message::LogsEnd(end) => &end.command_id,
        _ => "",
    }
}

pub(super) fn outcome(result: &Message) -> Outcome {
    match result {
        Message::DeployResult(result) => result.outcome,
        Message::ExecResult(result) => result.outcome,
        Message::LogsEnd(end) => end.outcome,
        _ => Outcome::Unknown,
    }
}

/// An error of the contract.
pub(in crate::agent) fn error(code: ErrorCode, message: &str) -> CommandError {
    CommandError {
        code: code.as_str().to_owned(),
        message: message.to_owned(),
        ..CommandError::default()
    }
}
