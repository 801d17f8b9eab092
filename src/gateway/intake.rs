//! What the gateway takes of one agent's control channel, and how fast.
//!
//! Messages above the contract's rate are refused, with an error and not a disconnect. Whatever
//! the agent sends is read no faster than [`CONTROL_READS`]: the rest of a flood, of pings too,
//! waits in its own socket.

use std::fmt::Display;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;

use crate::http::pace::{Pace, per_minute};
use crate::wire::control::{ErrorReport, id_of};
use crate::wire::error::ErrorCode;
use crate::wire::limits::{
    CONTROL_BURST, CONTROL_COMPLAINTS, CONTROL_MESSAGES, CONTROL_READ_BURST, CONTROL_READS,
};

/// The limits of one session.
#[derive(Debug)]
pub(super) struct Intake {
    reads: Pace,
    messages: Pace,
    complaints: Pace,
    /// The pace has been asked, and what it let through is not read yet.
    may_read: bool,
    /// Messages that were not acted on and that no error has told of, and what the last one lacked.
    untold: u64,
    last: ErrorCode,
}

impl Intake {
    pub(super) fn new() -> Self {
        let one = std::num::NonZeroU32::MIN;
        Self {
            reads: Pace::new(per_minute(CONTROL_READS, CONTROL_READ_BURST)),
            messages: Pace::new(per_minute(CONTROL_MESSAGES, CONTROL_BURST)),
            complaints: Pace::new(per_minute(CONTROL_COMPLAINTS, one)),
            may_read: false,
            untold: 0,
            last: ErrorCode::TooManyRequests,
        }
    }

    /// The next message of whatever kind, once it may be read. Safe to drop: none is lost.
    pub(super) async fn next<S>(
        &mut self,
        socket: &mut WebSocketStream<S>,
    ) -> Option<Result<WsMessage, WsError>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        while !self.may_read {
            match self.reads.check() {
                Ok(()) => self.may_read = true,
                Err(wait) => sleep(wait).await,
            }
        }
        let message = socket.next().await;
        self.may_read = false;
        message
    }

    /// Lets a message pass to be acted on.
    ///
    /// # Errors
    /// The complaint to send, unless one was sent less than a second ago.
    pub(super) fn admit(&mut self, text: &str) -> Result<(), Option<ErrorReport>> {
        self.messages.check().map_err(|wait| {
            let reason = format!(
                "more than {CONTROL_MESSAGES} messages a minute, or {CONTROL_BURST} at once; this one was not acted on"
            );
            let complaint = self.complain(ErrorCode::TooManyRequests, text, &reason)?;
            Some(ErrorReport {
                retry_after_ms: Some(millis_up(wait)),
                ..complaint
            })
        })
    }

    /// The complaint about a message that is refused, unless one was sent less than a second ago.
    pub(super) fn complain(
        &mut self,
        code: ErrorCode,
        text: &str,
        reason: &dyn Display,
    ) -> Option<ErrorReport> {
        self.untold += 1;
        self.last = code;
        self.complaints.check().ok()?;
        Some(self.report(reason.to_string(), id_of(text)))
    }

    /// What no error has told of yet, if anything, and if an error may be sent.
    pub(super) fn leftover(&mut self) -> Option<ErrorReport> {
        if self.untold == 0 {
            return None;
        }
        self.complaints.check().ok()?;
        Some(self.report("messages were not acted on".to_owned(), None))
    }

    fn report(&mut self, message: String, message_id: Option<String>) -> ErrorReport {
        ErrorReport {
            code: self.last.as_str().to_owned(),
            message,
            message_id,
            retry_after_ms: None,
            refused: Some(std::mem::take(&mut self.untold)),
        }
    }
}

fn millis_up(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::SinkExt;
    use tokio::time::{Instant, advance};
    use tokio_tungstenite::tungstenite::protocol::Role;

    const TEXT: &str = r#"{"type":"x","id":"m-7"}"#;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_what_is_above_is_told_once_a_second() {
        let mut intake = Intake::new();
        for _ in 0..CONTROL_BURST.get() {
            intake.admit(TEXT).unwrap();
        }
        let first = intake.admit(TEXT).unwrap_err().unwrap();
        assert_eq!(first.code, "TOO_MANY_REQUESTS");
        assert_eq!(first.message_id.as_deref(), Some("m-7"));
        assert_eq!((first.retry_after_ms, first.refused), (Some(60), Some(1)));
        for _ in 0..500 {
            assert_eq!(intake.admit(TEXT), Err(None));
        }
        assert_eq!(intake.leftover(), None);
        advance(Duration::from_secs(1)).await;
        let rest = intake.leftover().unwrap();
        assert_eq!((rest.message_id, rest.refused), (None, Some(500)));
        assert_eq!(intake.leftover(), None);
        intake.admit(TEXT).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_message_is_told_once_a_second_too() {
        let mut intake = Intake::new();
        let mut told = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            told.extend(intake.complain(ErrorCode::InvalidRequest, "{", &"no JSON"));
            advance(Duration::from_millis(10)).await;
        }
        assert_eq!(told.len(), 10);
        assert!(told.iter().all(|report| report.message_id.is_none()));
        assert_eq!(told.iter().filter_map(|r| r.refused).sum::<u64>(), 901);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_pings_is_read_at_a_bounded_rate() {
        let (near, far) = tokio::io::duplex(1024);
        let mut agent = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        tokio::spawn(async move { while agent.send(WsMessage::Ping("x".into())).await.is_ok() {} });
        let mut gateway = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
        let (mut intake, start) = (Intake::new(), Instant::now());
        let mut read: u32 = 0;
        while start.elapsed() < Duration::from_secs(60) {
            // As in the channel's loop: other things come first again and again.
            let next = tokio::time::timeout(Duration::from_millis(7), intake.next(&mut gateway));
            if let Ok(message) = next.await {
                message.unwrap().unwrap();
                read += 1;
            }
        }
        let bound = CONTROL_READ_BURST.get() + CONTROL_READS.get();
        assert!(
            (bound - 10..=bound + 1).contains(&read),
            "{read} of {bound}"
        );
    }
}
