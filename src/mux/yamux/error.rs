//! Why a session ends, and why no stream is opened.

use std::io;

use super::settings::DEAD_AFTER;

/// What a peer did that yamux does not allow; it ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Another version of yamux, or none.
    #[error("version {0} instead of 0")]
    Version(u8),
    /// A frame that does not exist.
    #[error("unknown frame type {0}")]
    Type(u8),
    /// Flags that do not exist.
    #[error("unknown flags {0:#06x}")]
    Flags(u16),
    /// A stream opened with an id of our side, or with none.
    #[error("stream {0} opened with an id that is not the peer's")]
    Parity(u32),
    /// A stream opened with the id of one that is open.
    #[error("stream {0} opened twice")]
    Reused(u32),
    /// More payload than the stream's window.
    #[error("{length} bytes on stream {id}, whose window is {window}")]
    WindowExceeded {
        /// The stream.
        id: u32,
        /// The frame's length.
        length: u32,
        /// What was left of the window.
        window: u32,
    },
    /// Window updates that add up to more than a window can be.
    #[error("the window of stream {0} overflows")]
    WindowOverflow(u32),
    /// Payload longer than any window, on a stream that is not open.
    #[error("a frame of {0} bytes on a stream that is not open")]
    TooLong(u32),
    /// Far more frames of no use than a peer has reason to send.
    #[error("a flood of {0}")]
    Flood(&'static str),
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The carrier's connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer broke the protocol.
    #[error("the peer broke the multiplexer's protocol: {0}")]
    Violation(#[from] Violation),
    /// Nothing came from the peer for too long, a ping included.
    #[error("the peer was silent for {} s", DEAD_AFTER.as_secs())]
    Dead,
    /// The peer ended the session for a reason of its own.
    #[error("the peer ended the session with code {0}")]
    GoneAway(u32),
}

/// Why no stream was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// As many streams are open as may be; try another carrier or later.
    #[error("too many streams are open on this carrier")]
    TooManyStreams,
    /// The memory for what peers may send unread is given away; try later.
    #[error("no memory is left for another stream's window")]
    NoMemory,
    /// The session has ended or is about to; nothing was sent.
    #[error("the carrier is closed")]
    Closed,
}
