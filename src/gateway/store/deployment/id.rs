//! Names of deployments that sort by time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const PREFIX: &str = "dep_";
/// Characters after the prefix: 100 bits.
const DIGITS: usize = 20;
const CHARS: usize = PREFIX.len() + DIGITS;
/// RFC 4648 section 7, in lowercase: unlike the other base32 it sorts as the bits do.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// Random bits below the 48 bits of milliseconds: two of the same millisecond collide once in 4.5 * 10^15.
const RANDOM_BITS: u32 = 52;
const TIME_BITS: u32 = 48;

/// A deployment's name: `dep_`, 48 bits of milliseconds since 1970 and 52 random bits as 20 lowercase base32hex
/// characters. As text they sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DeploymentId([u8; CHARS]);

/// Text that is no [`DeploymentId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must match pattern ^dep_[0-9a-v]{{20}}$")]
pub struct DeploymentIdError;

impl DeploymentId {
    /// Random bytes that [`DeploymentId::from_random`] takes.
    pub const RANDOM_BYTES: usize = 8;

    /// The name of what was made then; `random` tells those of one millisecond apart.
    #[must_use]
    pub fn from_random(at: Timestamp, random: [u8; Self::RANDOM_BYTES]) -> Self {
        let random = u128::from(u64::from_be_bytes(random)) & ((1 << RANDOM_BITS) - 1);
        Self::encode(at, random)
    }

    /// A new name for what is made at `at`.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(at: Timestamp) -> Result<Self, getrandom::Error> {
        let mut random = [0; Self::RANDOM_BYTES];
        getrandom::fill(&mut random)?;
        Ok(Self::from_random(at, random))
    }

    /// The least name of those made at `at`: for ranges.
    pub(in crate::gateway::store) fn first_at(at: Timestamp) -> Self {
        Self::encode(at, 0)
    }

    fn encode(at: Timestamp, random: u128) -> Self {
        let millis = u128::try_from(at.as_millisecond()).unwrap_or(0) & ((1 << TIME_BITS) - 1);
        let mut bits = (millis << RANDOM_BITS) | random;
        let mut text = [b'0'; CHARS];
        for to in text.iter_mut().rev().take(DIGITS) {
            let digit = usize::try_from(bits & 31).unwrap_or(0);
            *to = ALPHABET.get(digit).copied().unwrap_or(b'0');
            bits >>= 5;
        }
        for (to, from) in text.iter_mut().zip(PREFIX.bytes()) {
            *to = from;
        }
        Self(text)
    }

    /// When it was made, to the millisecond.
    #[must_use]
    pub fn created_at(&self) -> Timestamp {
        let digits = self.0.iter().skip(PREFIX.len());
        let bits = digits.fold(0_u128, |bits, byte| (bits << 5) | digit(*byte).unwrap_or(0));
        let millis = i64::try_from(bits >> RANDOM_BITS).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn digit(byte: u8) -> Option<u128> {
    match byte {
        b'0'..=b'9' => Some(u128::from(byte - b'0')),
        b'a'..=b'v' => Some(u128::from(byte - b'a' + 10)),
        _ => None,
    }
}

impl FromStr for DeploymentId {
    type Err = DeploymentIdError;

    fn from_str(text: &str) -> Result<Self, DeploymentIdError> {
        let digits = text.strip_prefix(PREFIX).ok_or(DeploymentIdError)?;
        let fits = digits.bytes().all(|byte| digit(byte).is_some());
        let text: [u8; CHARS] = text.as_bytes().try_into().map_err(|_| DeploymentIdError)?;
        fits.then_some(Self(text)).ok_or(DeploymentIdError)
    }
}

impl TryFrom<String> for DeploymentId {
    type Error = DeploymentIdError;

    fn try_from(text: String) -> Result<Self, DeploymentIdError> {
        text.parse()
    }
}

impl From<DeploymentId> for String {
    fn from(id: DeploymentId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for DeploymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeploymentId({self})")
    }
}
