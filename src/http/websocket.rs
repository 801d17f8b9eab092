//! How both ends of a control channel set their WebSocket.

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
