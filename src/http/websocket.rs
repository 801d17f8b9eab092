//! How both ends of a control channel set their WebSocket, and time it.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::wire::limits::MAX_CONTROL_MESSAGE;

/// Bytes read at once: control messages are small and most channels idle; the library's default
/// costs each of them 128 KiB.
const READ_BUFFER: usize = 4 * 1024;

/// Small buffers, writes at once, and no message above [`MAX_CONTROL_MESSAGE`].
#[must_use]
pub fn control_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * MAX_CONTROL_MESSAGE)
        .max_message_size(Some(MAX_CONTROL_MESSAGE))
        .max_frame_size(Some(MAX_CONTROL_MESSAGE))
}

/// Our pings on a control channel: each has a number in it, by which its pong is known.
#[derive(Debug, Default)]
pub struct Pings {
    number: u64,
    sent: Option<Instant>,
}

impl Pings {
    /// The next ping's payload; sent at once.
    pub fn ping(&mut self) -> Bytes {
        self.number += 1;
        self.sent = Some(Instant::now());
        Bytes::copy_from_slice(&self.number.to_be_bytes())
    }

    /// How long the last ping took to come back as this pong; `None` for any other pong.
    pub fn answered(&mut self, payload: &[u8]) -> Option<Duration> {
        if payload != self.number.to_be_bytes() {
            return None;
        }
        self.sent.take().map(|sent| sent.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_the_last_pings_own_pong_is_timed_and_only_once() {
        let mut pings = Pings::default();
        assert_eq!(pings.answered(&0u64.to_be_bytes()), None);
        let lost = pings.ping();
        let ping = pings.ping();
        tokio::time::advance(Duration::from_millis(20)).await;
        assert_eq!(pings.answered(&lost), None);
        assert_eq!(pings.answered(b"anything"), None);
        assert_eq!(pings.answered(&ping), Some(Duration::from_millis(20)));
        assert_eq!(pings.answered(&ping), None);
    }
}
