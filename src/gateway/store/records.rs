//! Clusters and tokens as they are kept, in JSON.
//!
//! Fields that this version does not know are skipped when a record is read, here and in all records.

use std::collections::BTreeMap;
use std::fmt;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::wire::token::{ClusterId, ClusterName, Role, Scope, Subject, TokenId, TokenKind};

/// A cluster that an agent may connect as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Names it in hosts; never changes.
    pub id: ClusterId,
    /// Names it in paths and for people; unique.
    pub name: ClusterName,
    /// When it was registered.
    pub created_at: Timestamp,
    /// What people sort clusters by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it is for, in people's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl ClusterRecord {
    /// A cluster of which no more is known.
    #[must_use]
    pub fn new(id: ClusterId, name: ClusterName, created_at: Timestamp) -> Self {
        Self {
            id,
            name,
            created_at,
            labels: BTreeMap::new(),
            description: None,
        }
    }
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The public part of the token.
    pub id: TokenId,
    /// Who it speaks for.
    pub kind: TokenKind,
    /// SHA-256 of the secret.
    pub hash: SecretHash,
    /// Who holds it: a person or program, or the cluster's name.
    pub subject: Subject,
    /// The role inside the cluster; none for an agent.
    pub role: Option<Role>,
    /// The clusters it is good for; exactly one for an agent.
    pub clusters: ClusterAccess,
    /// What it may do; nothing for an agent.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// Which clusters a token is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClusterAccess {
    /// All of them, also those registered later.
    All,
    /// These, by id.
    List(Vec<ClusterId>),
}

impl ClusterAccess {
    /// Whether the cluster with this id is included.
    pub fn allows(&self, id: &ClusterId) -> bool {
        match self {
            Self::All => true,
            Self::List(ids) => ids.contains(id),
        }
    }
}

/// SHA-256 of a secret's text, as lowercase hex in JSON. A fast hash is enough for 256 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Matches no secret; stands in where a token is unknown, so that the answer takes as long.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of a secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret).into())
    }
}

impl ConstantTimeEq for SecretHash {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl From<SecretHash> for String {
    fn from(hash: SecretHash) -> Self {
        HEXLOWER.encode(&hash.0)
    }
}

impl TryFrom<String> for SecretHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| "not lowercase hex")?;
        bytes.try_into().map(Self).map_err(|_| "not 32 bytes")
    }
}
