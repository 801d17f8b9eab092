//! Bytes that look random but are known, and their checksum.

use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

/// `len` bytes that depend on `seed` (xorshift64*): the same each time, with no
/// repetition that could hide a lost or doubled piece, and nothing to compress.
#[derive(Debug)]
pub struct Seeded {
    state: u64,
    left: u64,
    word: [u8; 8],
    used: usize,
}

impl Seeded {
    pub fn new(seed: u64, len: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            left: len,
            word: [0; 8],
            used: 8,
        }
    }

    /// All of it at once.
    pub fn bytes(seed: u64, len: u64) -> Vec<u8> {
        let mut all = Vec::new();
        Self::new(seed, len).read_to_end(&mut all).unwrap();
        all
    }

    fn next_byte(&mut self) -> u8 {
        if self.used == self.word.len() {
            self.state ^= self.state >> 12;
            self.state ^= self.state << 25;
            self.state ^= self.state >> 27;
            self.word = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
            self.used = 0;
        }
        self.used += 1;
        self.word[self.used - 1]
    }
}

impl Read for Seeded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = into
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        into[..n].fill_with(|| self.next_byte());
        self.left -= n as u64;
        Ok(n)
    }
}

/// Counts and hashes what is written to it.
#[derive(Debug, Default, Clone)]
pub struct Sum {
    pub len: u64,
    hash: Sha256,
}

impl Sum {
    pub fn of(bytes: &[u8]) -> Self {
        let mut sum = Self::default();
        sum.write_all(bytes).unwrap();
        sum
    }

    /// The SHA-256 in hex, as `sha256sum` writes it.
    pub fn hex(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.hash.clone().finalize())
    }
}

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.len += bytes.len() as u64;
        self.hash.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
