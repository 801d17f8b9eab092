//! `exec`: a program in a container, its input and output as control messages.
//!
//! Over `v5.channel.k8s.io` by kube's client, with a loop of our own over the WebSocket: kube's own writes input and reads
//! output by turns, so that a program which reads no more before its output is taken would wait for ever. What `v4` lacks
//! is the end of input; then a command that has to say it fails with a word about it.
//!
//! Kubernetes has no way to end a program. A time-out and a cancel close the connection: a program that reads its input,
//! and is in no terminal, finds it at an end; another one may go on (with containerd 1.6 it does).

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use kube::client::Connection;
use kube::core::{Request, Status};
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::output::{Outgoing, Output};
use super::pod::{self, failure};
use super::policy::Policy;
use crate::wire::control::{CommandError, Exec, ExecInput, ExecResult, Outcome};
use crate::wire::error::ErrorCode;

mod session;
mod status;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;

/// Added where a program may have been left behind.
const LEFT_BEHIND: &str = "its connection is closed, and its input at an end; Kubernetes has no way to end a program that \
                           does not end by that, and it may go on";

/// Runs a program to its end. All of its output has been sent when this returns, unless it was given up. `input` may end
/// early: that is not the end of the program's input, for which somebody has to say `end`.
pub(in crate::agent) async fn exec(
    client: &Client,
    policy: &Policy,
    command: &Exec,
    input: mpsc::Receiver<ExecInput>,
    out: Outgoing,
    cancel: &CancellationToken,
) -> ExecResult {
    let mut result = ExecResult {
        command_id: out.command_id().to_owned(),
        ..ExecResult::default()
    };
    if let Err(error) = check(policy, command) {
        result.outcome = Outcome::Refused;
        result.error = Some(error);
        return result;
    }
    let limit = limit(policy, command);
    let output = Output::new(out);
    let run = timeout(limit, Box::pin(run(client, command, input, output)));
    let ended = tokio::select! {
        biased;
        () = cancel.cancelled() => Ended::Cancelled,
        ended = run => match ended {
            Ok(Ok(status)) => Ended::Status(status),
            Ok(Err(error)) => Ended::Failed(error),
            Err(_) => Ended::TimedOut(limit),
        },
    };
    ended.tell(&mut result);
    result
}

/// How it has ended.
enum Ended {
    /// As the cluster says.
    Status(Box<Status>),
    Failed(CommandError),
    Cancelled,
    TimedOut(Duration),
}

impl Ended {
    fn tell(self, result: &mut ExecResult) {
        (result.outcome, result.exit_code, result.error) = match self {
            Self::Status(status) => match status::exit_code(&status) {
                Some(code) => (Outcome::Succeeded, Some(code), None),
                None => (Outcome::Failed, None, Some(pod::by_status(&status))),
            },
            Self::Failed(error) => (Outcome::Failed, None, Some(error)),
            Self::Cancelled => {
                let message = format!("given up as asked: {LEFT_BEHIND}");
                (
                    Outcome::Cancelled,
                    None,
                    Some(failure(ErrorCode::TargetFailed, message)),
                )
            }
            Self::TimedOut(limit) => {
                let message = format!(
                    "not at its end, or its output not taken, after {} ms: {LEFT_BEHIND}",
                    limit.as_millis()
                );
                (
                    Outcome::TimedOut,
                    None,
                    Some(failure(ErrorCode::TargetTimedOut, message)),
                )
            }
        };
    }
}

fn check(policy: &Policy, command: &Exec) -> Result<(), CommandError> {
    policy.check_exec(&command.namespace)?;
    pod::check_names(&command.namespace, &command.pod)?;
    if command.command.first().is_none_or(String::is_empty) {
        let mut error = failure(ErrorCode::InvalidRequest, "no program is named");
        error.details.insert("field".to_owned(), "command".into());
        return Err(error);
    }
    Ok(())
}

/// What the command says, and at most what the agent's configuration does.
fn limit(policy: &Policy, command: &Exec) -> Duration {
    let most = policy.config().exec_timeout.0;
    command
        .timeout_ms
        .map_or(most, |wanted| Duration::from_millis(wanted).min(most))
}

async fn run(
    client: &Client,
    command: &Exec,
    input: mpsc::Receiver<ExecInput>,
    mut output: Output,
) -> Result<Box<Status>, CommandError> {
    let connection = open(client, command).await?;
    session::run(connection, command, input, &mut output)
        .await
        .map(Box::new)
}

/// Starts the program.
async fn open(client: &Client, command: &Exec) -> Result<Connection, CommandError> {
    let container = command.container.as_deref();
    let error = match connect(client, command, container).await {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    if container.is_none() && pod::is_ambiguous(&error) {
        let pods = Api::namespaced(client.clone(), &command.namespace);
        if let Some(container) = pod::default_container(&pods, &command.pod).await {
            return connect(client, command, Some(&container))
                .await
                .map_err(|error| pod::refused(&error));
        }
    }
    Err(pod::refused(&error))
}

async fn connect(
    client: &Client,
    command: &Exec,
    container: Option<&str>,
) -> Result<Connection, kube::Error> {
    let path = Pod::url_path(&(), Some(&command.namespace));
    let params = AttachParams {
        container: container.map(str::to_owned),
        stdin: command.stdin,
        stderr: !command.tty, // a terminal has one output
        tty: command.tty,
        ..AttachParams::default()
    };
    let request = Request::new(path)
        .exec(&command.pod, command.command.clone(), &params)
        .map_err(kube::Error::BuildRequest)?;
    client.connect(request).await
}
