//! Bytes that both ends know: what stands at an offset of a stream follows from a key.

use std::rc::Rc;

use bytes::Bytes;
use fastrand::Rng;

/// A prime, so that no frame or window size divides it and a shift by one never goes unnoticed.
const PERIOD: usize = 65_521;

/// Most bytes of one piece.
pub const PIECE: usize = PERIOD;

#[derive(Clone)]
pub struct Pattern(Rc<Bytes>);

impl Pattern {
    pub fn new() -> Self {
        let mut rng = Rng::with_seed(1);
        let mut bytes: Vec<u8> = (0..PERIOD).map(|_| rng.u8(..)).collect();
        bytes.extend_from_within(..);
        Self(Rc::new(bytes.into()))
    }

    /// `length` bytes at `offset`, at most [`PIECE`], without a copy.
    pub fn piece(&self, key: u64, offset: u64, length: usize) -> Bytes {
        let start = (key.wrapping_mul(7_919).wrapping_add(offset) % PERIOD as u64) as usize;
        self.0.slice(start..start + length)
    }

    /// Panics where `bytes` are not what stands at `offset`.
    pub fn check(&self, key: u64, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        for piece in bytes.chunks(PIECE) {
            let right = self.piece(key, at, piece.len());
            assert!(
                right == piece,
                "stream {key}: wrong bytes in {} at {at}",
                piece.len()
            );
            at += piece.len() as u64;
        }
    }
}
