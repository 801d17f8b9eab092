//! Datagrams on a byte stream: the capsule protocol (RFC 9297, section 3) as connect-udp uses it
//! (RFC 9298, section 5).
//!
//! A capsule is a type, a length and so many bytes; type and length are QUIC's variable-length
//! integers (RFC 9000, section 16). A DATAGRAM capsule (type 0) with context id 0 holds one UDP
//! payload. Capsules of other types and contexts are passed over, as the RFCs want, without being
//! held.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::limits::MAX_DATAGRAM;

const DATAGRAM: u64 = 0;
/// The context of plain UDP payloads.
const UDP_PAYLOAD: u64 = 0;
/// Type and length, each of eight bytes at most.
const MAX_HEADER: usize = 16;

/// A capsule with this UDP payload; `None` above [`MAX_DATAGRAM`].
#[must_use]
pub fn encode(datagram: &[u8]) -> Option<Bytes> {
    if datagram.len() > MAX_DATAGRAM {
        return None;
    }
    let length = u32::try_from(datagram.len() + 1).ok()?;
    let mut out = BytesMut::with_capacity(datagram.len() + 6);
    out.put_u8(0);
    match length {
        0..64 => out.put_u8(u8::try_from(length).ok()?),
        64..16_384 => out.put_u16(u16::try_from(length).ok()? | 0x4000),
        _ => out.put_u32(length | 0x8000_0000),
    }
    out.put_u8(0);
    out.put_slice(datagram);
    Some(out.freeze())
}

/// What a decoder found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capsule {
    /// A UDP payload.
    Datagram(Bytes),
    /// A datagram above [`MAX_DATAGRAM`], which is passed over.
    TooLarge,
}

/// Takes capsules out of a stream. Holds at most one whole datagram and one piece that was pushed.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// Bytes of a capsule that are passed over.
    skip: u64,
}

impl Decoder {
    /// Adds the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        let rest = usize::try_from(skipped).ok().and_then(|at| bytes.get(at..));
        self.buffer.extend_from_slice(rest.unwrap_or_default());
    }

    /// The next datagram that is there whole.
    pub fn next_capsule(&mut self) -> Option<Capsule> {
        loop {
            let (kind, length, header) = self.header()?;
            let payload = usize::try_from(length).unwrap_or(usize::MAX);
            let fits = payload <= MAX_DATAGRAM + 1;
            if kind == DATAGRAM && fits {
                if self.buffer.len() - header < payload {
                    return None;
                }
                self.buffer.advance(header);
                let datagram = self.buffer.split_to(payload);
                if let Some(datagram) = of_context(datagram.freeze()) {
                    return Some(Capsule::Datagram(datagram));
                }
                continue;
            }
            self.buffer.advance(header);
            let here = self.buffer.len().min(payload);
            self.buffer.advance(here);
            self.skip = length - here as u64;
            if kind == DATAGRAM {
                return Some(Capsule::TooLarge);
            }
        }
    }

    /// Whether the stream may end here: between two capsules.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.skip == 0
    }

    /// Type and length of the capsule at the front, and the bytes that both take.
    fn header(&self) -> Option<(u64, u64, usize)> {
        let start = self.buffer.len().min(MAX_HEADER);
        let mut front = self.buffer.get(..start).unwrap_or_default();
        let (kind, length) = (varint(&mut front)?, varint(&mut front)?);
        Some((kind, length, start - front.len()))
    }
}

/// The payload behind a context id that is ours.
fn of_context(mut datagram: Bytes) -> Option<Bytes> {
    let mut front = &datagram[..];
    let context = varint(&mut front)?;
    let used = datagram.len() - front.len();
    datagram.advance(used);
    (context == UDP_PAYLOAD).then_some(datagram)
}

/// Reads one integer; nothing where it is not there whole.
fn varint(from: &mut &[u8]) -> Option<u64> {
    let first = *from.first()?;
    let (bytes, rest) = from.split_at_checked(1 << (first >> 6))?;
    *from = rest;
    let more = bytes.iter().skip(1);
    Some(more.fold(u64::from(first & 0x3f), |value, byte| {
        value << 8 | u64::from(*byte)
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(decoder: &mut Decoder) -> Vec<Capsule> {
        std::iter::from_fn(|| decoder.next_capsule()).collect()
    }

    #[test]
    fn integers_are_those_of_rfc_9000() {
        for (bytes, value) in [
            (
                &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..],
                151_288_809_941_952_652,
            ),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x40, 0x25], 37),
            (&[0x25], 37),
        ] {
            assert_eq!(varint(&mut &bytes[..]), Some(value));
            assert_eq!(varint(&mut &bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn a_datagram_is_these_bytes() {
        assert_eq!(&encode(b"hi").unwrap()[..], b"\x00\x03\x00hi");
        assert_eq!(&encode(&[7; 63]).unwrap()[..4], b"\x00\x40\x40\x00");
        assert_eq!(
            &encode(&[7; 20_000]).unwrap()[..6],
            b"\x00\x80\x00\x4e\x21\x00"
        );
        assert_eq!(encode(&[0; MAX_DATAGRAM + 1]), None);
    }

    #[test]
    fn other_types_and_contexts_are_passed_over_without_being_held() {
        let mut decoder = Decoder::default();
        // Type 0x17, longer than anything that is ever held.
        decoder.push(b"\x17\xc0\x00\x00\x00\x40\x00\x00\x00abc");
        assert_eq!(decoder.next_capsule(), None);
        assert!(decoder.buffer.is_empty());
        assert_eq!(decoder.skip, (1 << 30) - 3);
        decoder.skip = 0;
        decoder.push(b"\x00\x03\x02no\x00\x00\x00\x02\x00y");
        assert_eq!(
            all(&mut decoder),
            [Capsule::Datagram(Bytes::from_static(b"y"))]
        );
        assert!(decoder.is_empty());
    }

    #[test]
    fn a_datagram_that_is_too_large_is_told_and_passed_over() {
        let mut decoder = Decoder::default();
        let length = u32::try_from(MAX_DATAGRAM + 2).unwrap() | 0x8000_0000;
        decoder.push(&[&b"\x00"[..], &length.to_be_bytes()].concat());
        assert_eq!(all(&mut decoder), [Capsule::TooLarge]);
        decoder.push(&vec![0; MAX_DATAGRAM + 2]);
        decoder.push(b"\x00\x02\x00z");
        assert_eq!(
            all(&mut decoder),
            [Capsule::Datagram(Bytes::from_static(b"z"))]
        );
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_out_however_it_is_cut(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 1_usize..40,
        ) {
            let stream: Vec<u8> = datagrams.iter().flat_map(|d| encode(d).unwrap()).collect();
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                found.extend(all(&mut decoder));
            }
            let sent: Vec<_> = datagrams.into_iter().map(|d| Capsule::Datagram(d.into())).collect();
            prop_assert_eq!(found, sent);
            prop_assert!(decoder.is_empty());
        }

        #[test]
        fn holds_no_more_than_a_datagram(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..64)) {
            let mut decoder = Decoder::default();
            for piece in pieces {
                decoder.push(&piece);
                let _found = all(&mut decoder);
                prop_assert!(decoder.buffer.len() <= MAX_DATAGRAM + 1 + MAX_HEADER);
            }
        }
    }
}
