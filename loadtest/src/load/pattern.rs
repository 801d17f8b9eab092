//! Bytes that both ends know, cheap to make and to check: a block of noise, over and over. Its length
//! is prime, so that bytes lost, doubled or swapped show as a difference.

/// Bytes before the noise repeats.
const PERIOD: usize = 1_048_573;

/// The most bytes in one piece.
pub(crate) const PIECE: usize = 256 * 1024;

/// The noise, and its beginning once more, so that a piece is contiguous wherever it starts.
#[derive(Debug)]
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    /// Makes it; all of them are the same.
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut noise: Vec<u8> = Vec::with_capacity(PERIOD + PIECE + 8);
        while noise.len() < PERIOD {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend(state.to_le_bytes());
        }
        noise.truncate(PERIOD);
        noise.extend_from_within(..PIECE);
        Self(noise)
    }

    /// The bytes at `offset` of the stream with this seed, [`PIECE`] of them.
    pub(crate) fn at(&self, seed: u64, offset: u64) -> &[u8] {
        let start = usize::try_from(seed.wrapping_add(offset) % PERIOD as u64).unwrap_or_default();
        self.0.get(start..start + PIECE).unwrap_or_default()
    }

    /// Whether `bytes`, at most [`PIECE`] of them, are those at `offset`.
    pub(crate) fn holds(&self, seed: u64, offset: u64, bytes: &[u8]) -> bool {
        self.at(seed, offset).starts_with(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_goes_on_across_the_end_of_the_block() {
        let pattern = Pattern::new();
        let (seed, from) = (7, PERIOD as u64 - 100);
        let piece = pattern.at(seed, from).to_vec();
        assert!(pattern.holds(seed, from, &piece));
        assert!(pattern.holds(seed, from + 1000, &piece[1000..]));
    }

    #[test]
    fn a_lost_doubled_or_changed_byte_shows() {
        let pattern = Pattern::new();
        let good = pattern.at(1, 0)[..5000].to_vec();
        let mut lost = good.clone();
        lost.remove(2000);
        let mut doubled = good.clone();
        doubled.insert(2000, good[2000]);
        let mut changed = good.clone();
        changed[4999] ^= 1;
        for bad in [lost, doubled, changed] {
            assert!(!pattern.holds(1, 0, &bad));
        }
        assert!(
            !pattern.holds(2, 0, &good),
            "another seed is another stream"
        );
    }
}
