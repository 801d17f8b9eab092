//! A command's output on its way to the platform: gathered, cut into messages, held to its credit.
//!
//! Nothing here reads ahead: who has no room left stops reading, and the kernel's buffers, those of the API server and
//! in the end the program itself wait. Bytes are never lost, repeated or put in another order within their stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use data_encoding::BASE64;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::wire::control::{Encoding, ExecOutput, LogsOutput, Message, OutputStream};
use crate::wire::limits::MAX_OUTPUT;

#[cfg(test)]
mod tests;

/// How long small output waits for more: a screen drawn in several writes is one message, and nobody who types sees it.
const GATHER: Duration = Duration::from_millis(10);

/// Time between messages that are not full, on average: 600 a minute, which leaves a third of an agent's
/// [`AGENT_MESSAGES`](crate::wire::limits::AGENT_MESSAGES) to others.
const SPACING: Duration = Duration::from_millis(100);

/// How far a command may be ahead of [`SPACING`]: 20 messages after a pause, so that typing is answered at once.
const AHEAD: Duration = Duration::from_secs(2);

/// How long the beginning of a character waits for its end: a program whose output is no text may wait for an answer
/// to just these bytes.
const HOLD: Duration = Duration::from_millis(100);

/// Nobody will ever take output of this command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes this command's output any more")]
pub(in crate::agent) struct Gone;

/// Where one command's messages go. Clones share what may be sent.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Outgoing {
    command_id: Arc<str>,
    queue: mpsc::Sender<Message>,
    /// Bytes that may still be sent; without, as much as the queue takes.
    credit: Option<Arc<watch::Sender<u64>>>,
}

/// The right to send one message with so many bytes of output.
#[derive(Debug)]
struct Turn {
    permit: mpsc::OwnedPermit<Message>,
    most: usize,
}

impl Outgoing {
    /// `credit` is the command's.
    pub(in crate::agent) fn new(
        command_id: &str,
        queue: mpsc::Sender<Message>,
        credit: Option<u64>,
    ) -> Self {
        Self {
            command_id: command_id.into(),
            queue,
            credit: credit.map(|bytes| Arc::new(watch::Sender::new(bytes))),
        }
    }

    /// The command.
    pub(in crate::agent) fn command_id(&self) -> &str {
        &self.command_id
    }

    /// So many more bytes may be sent. Nothing where the command set no limit.
    pub(in crate::agent) fn grant(&self, bytes: u64) {
        if let Some(credit) = &self.credit {
            credit.send_modify(|left| *left = left.saturating_add(bytes));
        }
    }

    /// Waits until a message with at least one byte may be sent. Safe to drop.
    async fn turn(&self) -> Result<Turn, Gone> {
        let most = match &self.credit {
            // An `Err` would mean that the account is gone, which is held here.
            Some(credit) => match credit.subscribe().wait_for(|left| *left > 0).await {
                Ok(left) => usize::try_from(*left).unwrap_or(usize::MAX),
                Err(_) => return Err(Gone),
            },
            None => usize::MAX,
        };
        match self.queue.clone().reserve_owned().await {
            Ok(permit) => Ok(Turn { permit, most }),
            Err(_) => Err(Gone),
        }
    }

    fn spend(&self, bytes: usize) {
        if let Some(credit) = &self.credit {
            let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
            credit.send_modify(|left| *left = left.saturating_sub(bytes));
        }
    }
}

/// What a piece of output belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
    Log,
}

impl Source {
    fn message(
        self,
        command_id: String,
        sequence: u64,
        encoding: Encoding,
        data: String,
    ) -> Message {
        let stream = match self {
            Self::Stdout => OutputStream::Stdout,
            Self::Stderr => OutputStream::Stderr,
            Self::Log => {
                return Message::LogsOutput(LogsOutput {
                    command_id,
                    sequence,
                    encoding,
                    data,
                });
            }
        };
        Message::ExecOutput(ExecOutput {
            command_id,
            sequence,
            stream,
            encoding,
            data,
        })
    }
}

/// Bytes of one stream that are not sent yet.
#[derive(Debug)]
struct Waiting {
    source: Source,
    bytes: BytesMut,
    /// Since when the first of them waits.
    since: Instant,
}

/// What may be sent now, and of which stream.
#[derive(Debug)]
pub(super) struct Ready {
    turn: Turn,
    stream: usize,
}

/// One command's output.
#[derive(Debug)]
pub(super) struct Output {
    out: Outgoing,
    sequence: u64,
    streams: [Waiting; 3],
    /// When the last message would have been sent, had they all kept to [`SPACING`].
    on_schedule: Instant,
    ended: bool,
}

impl Output {
    pub(super) fn new(out: Outgoing) -> Self {
        let now = Instant::now();
        let waiting = |source| Waiting {
            source,
            bytes: BytesMut::new(),
            since: now,
        };
        Self {
            out,
            sequence: 0,
            streams: [Source::Stdout, Source::Stderr, Source::Log].map(waiting),
            on_schedule: now,
            ended: false,
        }
    }

    /// Whether more may be read. What is read in one go comes on top of [`MAX_OUTPUT`].
    pub(super) fn has_room(&self) -> bool {
        self.streams
            .iter()
            .map(|one| one.bytes.len())
            .sum::<usize>()
            < MAX_OUTPUT
    }

    pub(super) fn push(&mut self, source: Source, bytes: &[u8]) {
        if let Some(one) = self.streams.iter_mut().find(|one| one.source == source) {
            if one.bytes.is_empty() {
                one.since = Instant::now();
            }
            one.bytes.extend_from_slice(bytes);
        }
    }

    /// Waits until something is to be sent and may be. Safe to drop: nothing is taken.
    pub(super) async fn ready(&self) -> Result<Ready, Gone> {
        let first = (0..self.streams.len())
            .filter_map(|stream| Some((self.due(self.streams.get(stream)?)?, stream)))
            .min();
        let Some((due, stream)) = first else {
            return std::future::pending().await;
        };
        sleep_until(due).await;
        let turn = self.out.turn().await?;
        Ok(Ready { turn, stream })
    }

    /// Sends what [`Output::ready`] found.
    pub(super) fn emit(&mut self, ready: Ready) {
        let now = Instant::now();
        let Some(one) = self.streams.get_mut(ready.stream) else {
            return;
        };
        let most = one.bytes.len().min(MAX_OUTPUT).min(ready.turn.most);
        let (head, _) = one.bytes.split_at(most);
        // Cut short by the credit, the rest of a character may be what the next credit waits for.
        let short = most < one.bytes.len().min(MAX_OUTPUT);
        let whole = if self.ended || short || now >= one.since + HOLD {
            Hold::Nothing
        } else {
            Hold::Character
        };
        let Some(piece) = cut(head, whole) else {
            return;
        };
        one.bytes.advance(piece.length);
        one.since = now;
        self.sequence += 1;
        if most < MAX_OUTPUT {
            self.on_schedule = self.on_schedule.clamp(now, now + AHEAD) + SPACING;
        }
        self.out.spend(piece.length);
        let id = self.out.command_id().to_owned();
        let message = one
            .source
            .message(id, self.sequence, piece.encoding, piece.data);
        drop(ready.turn.permit.send(message));
    }

    /// Sends all that is left.
    pub(super) async fn finish(&mut self) -> Result<(), Gone> {
        self.ended = true;
        while self.streams.iter().any(|one| !one.bytes.is_empty()) {
            let ready = self.ready().await?;
            self.emit(ready);
        }
        Ok(())
    }

    /// When this is to be sent, if it is anything.
    fn due(&self, one: &Waiting) -> Option<Instant> {
        if one.bytes.is_empty() {
            return None;
        }
        if self.ended || one.bytes.len() >= MAX_OUTPUT {
            return Some(one.since);
        }
        if unfinished(&one.bytes) == one.bytes.len() {
            return Some(one.since + HOLD);
        }
        let soonest = one.since + GATHER;
        let in_turn = self.on_schedule.checked_sub(AHEAD);
        Some(in_turn.map_or(soonest, |in_turn| in_turn.max(soonest)))
    }
}

/// Whether an unfinished character may wait for its end even if it is all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Character,
    Nothing,
}

/// A message's worth.
#[derive(Debug)]
struct Piece {
    length: usize,
    encoding: Encoding,
    data: String,
}

/// The longest beginning of `bytes` that ends with a character, as a message has it. Where that is nothing, all of it or,
/// as `hold` says, none.
fn cut(bytes: &[u8], hold: Hold) -> Option<Piece> {
    let mut length = bytes.len() - unfinished(bytes);
    if length == 0 && hold == Hold::Nothing {
        length = bytes.len();
    }
    let (head, _) = bytes.split_at(length);
    if head.is_empty() {
        return None;
    }
    let (encoding, data) = match std::str::from_utf8(head) {
        Ok(text) => (Encoding::Utf8, text.to_owned()),
        Err(_) => (Encoding::Base64, BASE64.encode(head)),
    };
    Some(Piece {
        length,
        encoding,
        data,
    })
}

/// How many of the last bytes are the beginning of a character in UTF-8 whose end is missing: 0 to 3.
fn unfinished(bytes: &[u8]) -> usize {
    (1..=bytes.len().min(3))
        .find(|length| {
            let (_, tail) = bytes.split_at(bytes.len() - length);
            std::str::from_utf8(tail)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(0)
}

/// What a message of the platform carries for a program.
///
/// # Errors
/// In words, where it is not what it says to be.
pub(super) fn decode(encoding: Encoding, data: &str) -> Result<Vec<u8>, String> {
    match encoding {
        Encoding::Utf8 => Ok(data.as_bytes().to_vec()),
        Encoding::Base64 => BASE64
            .decode(data.as_bytes())
            .map_err(|error| format!("not base64 as in RFC 4648, section 4: {error}")),
    }
}
