//! `logs`: a container's log as control messages.
//!
//! The API server is always asked for each line's time, which is taken off again where the command did not ask for it: when
//! the connection breaks, the log is asked for once more from a little before the last line, and passed on from the very
//! byte where it broke ([`lines`]). What a kubelet cannot give, because it rotated the log meanwhile, is told and never
//! passed over in silence ([`gaps`]).

use std::fmt::Display;
use std::time::Duration;

use futures_util::{AsyncBufRead, AsyncBufReadExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::output::{Gone, Outgoing, Output, Source};
use super::pod::{self, Seen, failure};
use super::policy::Policy;
use crate::agent::backoff::Backoff;
use crate::wire::control::{CommandError, Logs, LogsEnd, Outcome};
use crate::wire::error::ErrorCode;

mod ask;
mod gaps;
mod lines;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;

use gaps::Gaps;
use lines::{File, Lines, Lost};

/// Connections in a row that may bring nothing before a log is given up: about half a minute.
const ATTEMPTS: u32 = 8;

/// A read that waited as long as this has read all that there was.
const CAUGHT_UP: Duration = Duration::from_millis(100);

/// Reads a log to its end; one that is followed, to the end of its container. All of it has been sent when this returns,
/// unless it was given up.
pub(in crate::agent) async fn logs(
    client: &Client,
    policy: &Policy,
    command: &Logs,
    out: Outgoing,
    cancel: &CancellationToken,
) -> LogsEnd {
    let command_id = out.command_id().to_owned();
    let checked = policy
        .check_read(&command.namespace)
        .and_then(|()| pod::check_names(&command.namespace, &command.pod));
    if let Err(error) = checked {
        return LogsEnd {
            command_id,
            outcome: Outcome::Refused,
            error: Some(error),
        };
    }
    let mut reader = Reader::new(client, command, Output::new(out));
    let (outcome, error) = tokio::select! {
        biased;
        () = cancel.cancelled() => (Outcome::Cancelled, None),
        ended = Box::pin(reader.run()) => match ended {
            Ok(()) => (Outcome::Succeeded, None),
            Err(error) => (Outcome::Failed, Some(error)),
        },
    };
    let doubt = reader.gaps.doubt();
    LogsEnd {
        command_id,
        outcome: if doubt.is_some() && outcome == Outcome::Succeeded {
            Outcome::Failed
        } else {
            outcome
        },
        error: error.or_else(|| Some(failure(ErrorCode::TargetFailed, doubt?))),
    }
}

/// How long a kubelet may be silent that was kept waiting before: it may be at the end of a file that is rotated away, and
/// is asked again.
const STALE: Duration = Duration::from_secs(3);

/// How long a log may be silent before it is asked for again: the connection may be dead without a word, and nothing is sent
/// on it that would show it.
const QUIET: Duration = Duration::from_secs(300);

/// Bytes of a log that takes so long to read that a kubelet may be restarted meanwhile.
const LONG: u64 = 1024 * 1024;

/// How long to wait, and again, until the API server knows that a container has ended whose log has.
const SETTLE: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// One log on its way.
struct Reader<'a> {
    pods: Api<Pod>,
    command: &'a Logs,
    /// As named by the command, or by the pod.
    container: Option<String>,
    /// Of the container that ran before.
    previous: bool,
    /// The container whose log is followed.
    followed: Seen,
    output: Output,
    lines: Lines,
    gaps: Gaps,
    begun: Timestamp,
}

/// Why a connection is not read any more.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the API server ended it while its container runs")]
    End,
    /// It may be dead, or at the end of a file that is not written any more.
    #[error("nothing came any more")]
    Stale,
    #[error("{0}")]
    Broke(String),
}

/// What to do when a connection has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// To go on where it stopped.
    Again,
    /// The container has ended: to see that nothing comes behind.
    Last,
    Done,
}

impl<'a> Reader<'a> {
    fn new(client: &Client, command: &'a Logs, output: Output) -> Self {
        let begun = Timestamp::now();
        Self {
            pods: Api::namespaced(client.clone(), &command.namespace),
            command,
            container: command.container.clone(),
            previous: command.previous,
            followed: Seen::Unknown,
            output,
            lines: Lines::new(command.timestamps, command.since),
            gaps: Gaps::new(begun),
            begun,
        }
    }

    async fn run(&mut self) -> Result<(), CommandError> {
        let ended = self.read_all().await;
        // What was read before it failed is sent, too.
        self.output.finish().await.map_err(gone)?;
        ended
    }

    async fn read_all(&mut self) -> Result<(), CommandError> {
        let mut backoff = Backoff::new();
        let mut fruitless = 0;
        let mut next = Next::Again;
        loop {
            let before = self.lines.taken();
            let stopped = match self.open().await {
                Ok(log) => self.pump(log).await?,
                Err(error) if self.is_hopeless(&error, fruitless) => {
                    return self.give_up(&error, next);
                }
                Err(error) => Stopped::Broke(pod::refused(&error).message),
            };
            let is_quiet = matches!(stopped, Stopped::Stale);
            if self.lines.taken() > before || is_quiet {
                backoff.reset();
                fruitless = 0;
            }
            fruitless += 1;
            next = self.decide(&stopped, next).await?;
            let file = match (next, &stopped) {
                (Next::Done, _) => return Ok(()),
                (Next::Last, Stopped::End) | (_, Stopped::Stale) => File::OrNext,
                (Next::Again | Next::Last, Stopped::End | Stopped::Broke(_)) => File::Same,
            };
            if fruitless >= ATTEMPTS {
                return Err(self.cut_off(&format!("it stopped {ATTEMPTS} times: {stopped}")));
            }
            self.lines.resume(file);
            if file == File::Same {
                sleep(backoff.next()).await;
            }
        }
    }

    async fn decide(&mut self, stopped: &Stopped, before: Next) -> Result<Next, CommandError> {
        match stopped {
            Stopped::End if self.lines.is_lost() => Err(self.cut_off(&Lost)),
            Stopped::End if before == Next::Last => Ok(Next::Done),
            Stopped::End if self.is_followed() => Ok(self.after_end().await),
            Stopped::End if self.may_be_cut() => Ok(Next::Last),
            Stopped::End => Ok(Next::Done),
            Stopped::Stale => {
                self.gaps.caught_up();
                Ok(Next::Again)
            }
            Stopped::Broke(_) if before == Next::Last => Ok(Next::Last),
            Stopped::Broke(_) => Ok(self.after_break().await),
        }
    }

    /// Whether to try again a request that did not succeed. The first one tells at once what is wrong with it.
    fn is_hopeless(&self, error: &kube::Error, fruitless: u32) -> bool {
        let refused = matches!(error, kube::Error::Api(status)
            if (400..500).contains(&status.code) && status.code != 429);
        refused || (fruitless == 0 && self.lines.last().is_none())
    }

    fn give_up(&mut self, error: &kube::Error, next: Next) -> Result<(), CommandError> {
        let refused = pod::refused(error);
        if next == Next::Last {
            // It was at its end, and is removed by now.
            self.gaps.ended_unseen();
            return Ok(());
        }
        if self.lines.last().is_none() {
            return Err(refused);
        }
        let why = format!("it cannot be picked up again: {}", refused.message);
        Err(self.cut_off(&why))
    }

    fn is_followed(&self) -> bool {
        self.command.follow && !self.command.previous
    }

    async fn look(&self) -> Seen {
        pod::look(&self.pods, &self.command.pod, self.container.as_deref()).await
    }

    /// Whether a log that is not followed may go on behind its end, as [`Self::after_end`] says: one that took a while to read,
    /// and has no line from after it was asked for.
    fn may_be_cut(&self) -> bool {
        let reached = self.lines.last().is_some_and(|last| last >= self.begun);
        self.lines.taken() >= LONG && !reached
    }

    /// What to do after the end of a log that is followed. API servers end one that they cannot read on in the same way: the
    /// response is complete, though the kubelet's was not.
    async fn after_end(&mut self) -> Next {
        if let Seen::There(then) = &self.followed
            && let Seen::There(now) = self.settled(&then.id).await
        {
            if now.id == then.id {
                return if now.running { Next::Again } else { Next::Last };
            }
            if now.before.as_ref() == Some(&then.id) {
                self.previous = true;
                return Next::Last;
            }
        }
        self.gaps.ended_unseen();
        Next::Done
    }

    /// The container, once the API server knows that this one does not run any more; or later, when it still does.
    async fn settled(&self, id: &str) -> Seen {
        let mut seen = self.look().await;
        for wait in SETTLE {
            if !matches!(&seen, Seen::There(now) if now.running && now.id == id) {
                break;
            }
            sleep(wait).await;
            seen = self.look().await;
        }
        seen
    }

    /// What to do after a connection has broken: the container may have been restarted meanwhile.
    async fn after_break(&mut self) -> Next {
        if let Seen::There(then) = &self.followed
            && let Seen::There(now) = self.look().await
            && now.id != then.id
        {
            // What cannot be found in the log of the one before is told.
            self.previous = true;
            return Next::Last;
        }
        Next::Again
    }

    /// Passes a connection's bytes on. Reads only while there is room for them.
    async fn pump(&mut self, mut log: impl AsyncBufRead + Unpin) -> Result<Stopped, CommandError> {
        if self.is_followed() && self.followed == Seen::Unknown {
            self.followed = self.look().await;
        }
        let mut idle_since = Instant::now();
        loop {
            let has_room = self.output.has_room();
            let patience = if self.gaps.is_late() { STALE } else { QUIET };
            let length = tokio::select! {
                ready = self.output.ready() => {
                    self.output.emit(ready.map_err(gone)?);
                    if !has_room {
                        self.gaps.stalled(idle_since.elapsed());
                        idle_since = Instant::now();
                    }
                    continue;
                }
                read = log.fill_buf(), if has_room => match read {
                    Ok(bytes) => {
                        if idle_since.elapsed() >= CAUGHT_UP {
                            self.gaps.caught_up();
                        }
                        let Self { lines, gaps, output, .. } = self;
                        let fed = lines.feed(bytes, gaps, |bytes| output.push(Source::Log, bytes));
                        fed.map_err(|lost| self.cut_off(&lost)).map(|()| bytes.len())?
                    }
                    Err(error) => return Ok(Stopped::Broke(error.to_string())),
                },
                () = sleep_until(idle_since + patience), if has_room && self.is_followed() => {
                    return Ok(Stopped::Stale);
                }
            };
            if length == 0 {
                return Ok(Stopped::End);
            }
            log.consume_unpin(length);
            idle_since = Instant::now();
        }
    }

    /// The log cannot be read on.
    fn cut_off(&self, why: &dyn Display) -> CommandError {
        let Some(last) = self.lines.last() else {
            return failure(
                ErrorCode::TargetFailed,
                format!("nothing of the log was read: {why}"),
            );
        };
        let message =
            format!("the log is whole up to the line of {last} and may go on after it: {why}");
        let mut error = failure(ErrorCode::TargetFailed, message);
        error
            .details
            .insert("whole_until".to_owned(), last.to_string().into());
        error
    }
}

fn gone(error: Gone) -> CommandError {
    failure(ErrorCode::Unavailable, error.to_string())
}
