//! The 12 bytes before each frame's payload.
//!
//! ```text
//! version (1) | type (1) | flags (2) | stream id (4) | length (4)      all big-endian
//! ```
//! Source: <https://github.com/hashicorp/yamux/blob/master/spec.md>.

use super::error::Violation;

/// Bytes of a header.
pub(super) const HEADER: usize = 12;

const VERSION: u8 = 0;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Payload of a stream; the only kind with one.
    Data,
    /// The peer may send `length` bytes more on a stream.
    WindowUpdate,
    /// `length` is a number that comes back with ACK.
    Ping,
    /// The session ends; `length` says why.
    GoAway,
}

/// Opens a stream; asks, on a ping.
pub(super) const SYN: u16 = 1;
/// Accepts a stream; answers, on a ping.
pub(super) const ACK: u16 = 2;
/// The sender will send no more on this stream.
pub(super) const FIN: u16 = 4;
/// The stream ends here, incomplete.
pub(super) const RST: u16 = 8;

/// Reasons of a GOAWAY.
pub(super) mod reason {
    pub(crate) const NORMAL: u32 = 0;
    pub(crate) const PROTOCOL: u32 = 1;
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    pub(super) id: u32,
    /// Bytes of payload, or the kind's own number.
    pub(super) length: u32,
}

impl Header {
    pub(super) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// A whole frame without payload.
    pub(super) fn frame(kind: Kind, flags: u16, id: u32, length: u32) -> [u8; HEADER] {
        let header = Self {
            kind,
            flags,
            id,
            length,
        };
        header.encode()
    }

    pub(super) fn encode(self) -> [u8; HEADER] {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        let [f0, f1] = self.flags.to_be_bytes();
        let [i0, i1, i2, i3] = self.id.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [VERSION, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3]
    }

    /// Reads a header.
    ///
    /// # Errors
    /// [`Violation`] for a version, type or flag that yamux does not have.
    pub(super) fn decode(bytes: [u8; HEADER]) -> Result<Self, Violation> {
        let [version, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3] = bytes;
        if version != VERSION {
            return Err(Violation::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(Violation::Type(other)),
        };
        let flags = u16::from_be_bytes([f0, f1]);
        if flags & !(SYN | ACK | FIN | RST) != 0 {
            return Err(Violation::Flags(flags));
        }
        Ok(Self {
            kind,
            flags,
            id: u32::from_be_bytes([i0, i1, i2, i3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}
