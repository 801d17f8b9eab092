//! Which commands were begun, and what has come of them until the platform says that it knows.
//!
//! Without I/O, and with the time as an argument. It is in memory: after a restart of the agent nothing is known of what was
//! begun before, and the platform has to take that for `unknown`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::wire::control::{CommandError, Message};
use crate::wire::error::ErrorCode;
use crate::wire::limits::MAX_ECHOED_ID;

#[cfg(test)]
mod tests;

/// Commands that are remembered: three a minute for a day, some 1 MiB of ids.
const MAX_REMEMBERED: usize = 4096;

/// Commands that run or whose result the platform has not acknowledged. Far more than run at once: a gateway that is away
/// for long finds the results of all of them.
const MAX_OPEN: usize = 1024;

/// Bytes of results that wait to be acknowledged, as JSON; one more may come on top for each command that runs.
const MAX_HELD: usize = 16 * 1024 * 1024;

/// How long a command is remembered after its result was acknowledged: nobody gives it again later than that.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a command is to be carried out.
#[derive(Debug, PartialEq)]
pub(in crate::agent) enum Begin {
    /// It is, now, and [`Journal::finish`] told of its result.
    New,
    /// It already is.
    Running,
    /// It was. The result is to be sent again unless the platform has acknowledged it.
    Done(Option<Message>),
    /// It is not, and nothing of it is remembered.
    Refused(CommandError),
}

/// One command.
#[derive(Debug)]
enum Entry {
    Running,
    /// Its result is in `held` under this number.
    Held(u64),
    Acknowledged,
}

/// The commands of the last day.
#[derive(Debug, Default)]
pub(in crate::agent) struct Journal {
    entries: HashMap<String, Entry>,
    /// Results that are not acknowledged, in the order in which they came.
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    /// What may be forgotten, oldest first.
    past: BTreeMap<u64, (Instant, String)>,
    running: usize,
    count: u64,
}

#[derive(Debug)]
struct Held {
    result: Message,
    bytes: usize,
}

impl Journal {
    /// A command has come.
    pub(in crate::agent) fn begin(&mut self, id: &str, now: Instant) -> Begin {
        self.forget(now);
        match self.entries.get(id) {
            Some(Entry::Running) => Begin::Running,
            Some(Entry::Held(number)) => {
                let held = self.held.get(number);
                Begin::Done(held.map(|held| held.result.clone()))
            }
            Some(Entry::Acknowledged) => Begin::Done(None),
            None => self.admit(id),
        }
    }

    fn admit(&mut self, id: &str) -> Begin {
        if id.is_empty() || id.len() > MAX_ECHOED_ID {
            return refuse(
                ErrorCode::InvalidRequest,
                format!(
                    "a command's id has 1 to {MAX_ECHOED_ID} bytes, not {}",
                    id.len()
                ),
            );
        }
        if self.running + self.held.len() >= MAX_OPEN || self.held_bytes >= MAX_HELD {
            return refuse(
                ErrorCode::TooManyRequests,
                format!(
                    "{} commands run, and the results of {} ({} bytes) are not acknowledged: no more are taken",
                    self.running,
                    self.held.len(),
                    self.held_bytes
                ),
            );
        }
        if self.entries.len() >= MAX_REMEMBERED
            && let Some((_, (_, oldest))) = self.past.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.entries.insert(id.to_owned(), Entry::Running);
        self.running += 1;
        Begin::New
    }

    /// A command that was [`Begin::New`] has ended: what is to be told, again and again until it is acknowledged. Nothing
    /// where it has ended before.
    pub(in crate::agent) fn finish(&mut self, id: &str, result: Message) {
        let number = self.next();
        let Some(entry @ Entry::Running) = self.entries.get_mut(id) else {
            return;
        };
        *entry = Entry::Held(number);
        self.running -= 1;
        // What cannot be written as JSON will not be sent either; it counts as nothing.
        let bytes = serde_json::to_vec(&result).map_or(0, |text| text.len());
        self.held_bytes += bytes;
        self.held.insert(number, Held { result, bytes });
    }

    /// The platform knows a command's result. Says whether it was waited for.
    pub(in crate::agent) fn acknowledge(&mut self, id: &str, now: Instant) -> bool {
        let number = self.next();
        let Some(entry @ Entry::Held(_)) = self.entries.get_mut(id) else {
            return false;
        };
        if let Entry::Held(held) = std::mem::replace(entry, Entry::Acknowledged)
            && let Some(held) = self.held.remove(&held)
        {
            self.held_bytes -= held.bytes;
        }
        self.past.insert(number, (now, id.to_owned()));
        true
    }

    /// The results to be sent again after a reconnect, in the order in which they came.
    pub(in crate::agent) fn unacknowledged(&self) -> impl Iterator<Item = &Message> {
        self.held.values().map(|held| &held.result)
    }

    /// Commands that run.
    pub(in crate::agent) fn running(&self) -> usize {
        self.running
    }

    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.past.first_entry() {
            let (since, _) = oldest.get();
            if now.saturating_duration_since(*since) < REMEMBERED {
                return;
            }
            let (_, id) = oldest.remove();
            self.entries.remove(&id);
        }
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }
}

fn refuse(code: ErrorCode, message: String) -> Begin {
    Begin::Refused(CommandError {
        code: code.as_str().to_owned(),
        message,
        ..CommandError::default()
    })
}
