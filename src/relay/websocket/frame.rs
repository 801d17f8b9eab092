//! A WebSocket frame's header and its mask (RFC 6455, sections 5.2 and 5.3), without I/O.

/// The longest header: two bytes, eight of a length, four of a mask.
pub(super) const MAX_HEADER: usize = 14;

/// The longest payload of a control frame.
pub(super) const MAX_CONTROL: usize = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// More of a message.
    Continuation = 0,
    /// The beginning of a message of bytes.
    Binary = 2,
    /// The end.
    Close = 8,
    /// To be answered with what it holds.
    Ping = 9,
    /// That answer.
    Pong = 10,
}

/// What a peer sent that is no frame for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a WebSocket frame has reserved bits set, and no extension was agreed on")]
    Reserved,
    #[error("a WebSocket frame has the opcode {0}, which a carrier does not use")]
    Opcode(u8),
    #[error("a WebSocket frame is masked where it must not be, or the other way round")]
    Mask,
    #[error("a WebSocket control frame is longer than {MAX_CONTROL} bytes or in several parts")]
    Control,
    #[error("a WebSocket frame has a length above 2^63")]
    Length,
    #[error("a WebSocket message begins within another, or goes on without a beginning")]
    Order,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether it is its message's last.
    pub(super) last: bool,
    pub(super) opcode: Opcode,
    pub(super) key: Option<[u8; 4]>,
    pub(super) length: u64,
}

/// How many bytes a header has, of which the first two are known.
pub(super) fn size(second: u8) -> usize {
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

impl Header {
    /// Reads a header of which all bytes are there, as [`size`] says.
    pub(super) fn read(bytes: &[u8; MAX_HEADER]) -> Result<Self, FrameError> {
        let [first, second, rest @ ..] = *bytes;
        if first & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            other => return Err(FrameError::Opcode(other)),
        };
        let [a, b, c, d, e, f, g, h, ..] = rest;
        let (length, after) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([a, b])), 2),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 8),
            short => (u64::from(short), 0),
        };
        if length > u64::MAX / 2 {
            return Err(FrameError::Length);
        }
        let last = first & 0x80 != 0;
        let control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        if control && (!last || length > MAX_CONTROL as u64) {
            return Err(FrameError::Control);
        }
        let key = rest
            .get(after..after + 4)
            .and_then(|key| key.try_into().ok());
        Ok(Self {
            last,
            opcode,
            key: key.filter(|_| second & 0x80 != 0),
            length,
        })
    }

    /// Writes a header; the second is how many bytes of the first it has.
    pub(super) fn write(&self) -> ([u8; MAX_HEADER], usize) {
        let mut bytes = [0; MAX_HEADER];
        let mut at = 2;
        let mut put = |part: &[u8]| {
            bytes[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        };
        let short = match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length @ 0..=125), _) => length,
            (_, Ok(length)) => {
                put(&length.to_be_bytes());
                126
            }
            _ => {
                put(&self.length.to_be_bytes());
                127
            }
        };
        if let Some(key) = self.key {
            put(&key);
        }
        bytes[0] = u8::from(self.last) << 7 | self.opcode as u8;
        bytes[1] = u8::from(self.key.is_some()) << 7 | short;
        (bytes, at)
    }
}

/// Masks or unmasks; answers the key for what follows.
pub(super) fn mask(data: &mut [u8], mut key: [u8; 4]) -> [u8; 4] {
    // Whole vectors at a time: the compiler makes one instruction of each inner loop.
    let mut wide = [0; 32];
    for (byte, of) in wide.iter_mut().zip(key.iter().cycle()) {
        *byte = *of;
    }
    let (vectors, rest) = data.as_chunks_mut::<32>();
    for vector in vectors {
        for (byte, of) in vector.iter_mut().zip(wide) {
            *byte ^= of;
        }
    }
    for (byte, of) in rest.iter_mut().zip(wide) {
        *byte ^= of;
    }
    key.rotate_left(rest.len() % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Header, FrameError> {
        let mut all = [0; MAX_HEADER];
        all[..bytes.len()].copy_from_slice(bytes);
        Header::read(&all)
    }

    #[test]
    fn the_rfcs_examples_are_read() {
        // Section 5.7: a masked ping, and binary messages of 256 bytes and of 64 KiB, unmasked.
        let ping = read(&[0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d]).unwrap();
        assert_eq!(
            (ping.opcode, ping.length, ping.key),
            (Opcode::Ping, 5, Some([0x37, 0xfa, 0x21, 0x3d]))
        );
        assert_eq!(read(&[0x82, 0x7e, 1, 0]).unwrap().length, 256);
        let long = read(&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]).unwrap();
        assert_eq!((long.length, long.key, long.last), (65536, None, true));
        let mut hello = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        mask(&mut hello, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&hello, b"Hello");
    }

    #[test]
    fn what_is_no_frame_for_us_is_refused() {
        for (bytes, error) in [
            (&[0xc2, 0][..], FrameError::Reserved),
            (&[0x81, 0], FrameError::Opcode(1)),
            (&[0x8b, 0], FrameError::Opcode(11)),
            (&[0x09, 0], FrameError::Control),
            (&[0x89, 126, 0, 126], FrameError::Control),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], FrameError::Length),
        ] {
            assert_eq!(read(bytes), Err(error));
        }
    }

    proptest! {
        #[test]
        fn a_header_is_read_as_it_was_written(
            last: bool, length in 0..=u64::MAX / 2, masked: bool, key: [u8; 4], shift in 0..63u32
        ) {
            let header = Header {
                last, opcode: Opcode::Binary, key: masked.then_some(key), length: length >> shift,
            };
            let (bytes, len) = header.write();
            prop_assert_eq!(size(bytes[1]), len);
            prop_assert_eq!(Header::read(&bytes), Ok(header));
        }

        #[test]
        fn a_mask_goes_on_where_it_stopped(data: Vec<u8>, key: [u8; 4], cut in 0..200usize) {
            let expected: Vec<u8> = data.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b).collect();
            let mut masked = data.clone();
            let cut = cut.min(data.len());
            let next = mask(&mut masked[..cut], key);
            mask(&mut masked[cut..], next);
            prop_assert_eq!(masked, expected);
        }
    }
}
