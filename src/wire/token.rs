//! Tokens as text, and the names, roles and scopes they carry.
//!
//! A token reads `pipeops_<kind>_<id>_<secret>`. The id is public: it stands in logs and lists. The secret is 256
//! random bits and is known only to its holder. The fixed prefix lets secret scanners find leaked tokens.

mod names;
mod scope;

pub use names::{ClusterId, ClusterName, NameError, Subject};
pub use scope::{Role, Scope, ScopeError};

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Random bytes in a token id: 80 bits, so that a billion tokens collide with a chance below one in a million.
pub const ID_BYTES: usize = 10;
/// Random bytes in a secret. 256 bits can't be guessed, so a plain hash of them is safe to store.
pub const SECRET_BYTES: usize = 32;
/// Characters of an id: base32 of [`ID_BYTES`].
pub const ID_CHARS: usize = 16;
/// Characters of a secret: unpadded base32 of [`SECRET_BYTES`].
pub const SECRET_CHARS: usize = 52;
/// Characters of the longest token, that of an agent: the bound to check before anything else is looked at.
pub const MAX_TOKEN_CHARS: usize = AGENT_PREFIX.len() + ID_CHARS + 1 + SECRET_CHARS;

const AGENT_PREFIX: &str = "pipeops_agent_";
const USER_PREFIX: &str = "pipeops_user_";

/// Who a token speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// An agent: may connect as exactly one cluster, and nothing else.
    Agent,
    /// A person or a program that sends requests through the gateway.
    User,
}

impl TokenKind {
    /// The word in the token and in JSON: `agent` or `user`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::User => "user",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Agent => AGENT_PREFIX,
            Self::User => USER_PREFIX,
        }
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The public part of a token: [`ID_CHARS`] lowercase base32 characters (`a-z2-7`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenId([u8; ID_CHARS]);

impl TokenId {
    /// The id that these random bytes stand for.
    pub fn from_random(bytes: [u8; ID_BYTES]) -> Self {
        let mut id = [b'a'; ID_CHARS];
        for (to, from) in id.iter_mut().zip(base32(&bytes).bytes()) {
            *to = from;
        }
        Self(id)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for TokenId {
    type Err = TokenFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id: [u8; ID_CHARS] = text
            .as_bytes()
            .try_into()
            .map_err(|_| TokenFormatError::Id)?;
        if id.iter().all(is_base32) {
            Ok(Self(id))
        } else {
            Err(TokenFormatError::Id)
        }
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenFormatError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

/// A token that has the right form. Whether it is known is the directory's question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ParsedToken<'a> {
    /// Who it claims to speak for.
    pub kind: TokenKind,
    /// Its public id.
    pub id: TokenId,
    /// Its secret, [`SECRET_CHARS`] characters: to hash, never to log.
    pub secret: &'a str,
}

impl fmt::Debug for ParsedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedToken")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why a text is no token. None of the messages repeats any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenFormatError {
    /// Wrong length, whatever it holds.
    #[error(
        "a token has 82 (user) or 83 (agent) characters, this has {0}: was it cut or does it hold a space?"
    )]
    Length(usize),
    /// It starts with neither prefix.
    #[error("a token starts with pipeops_agent_ or pipeops_user_")]
    Prefix,
    /// The id is not [`ID_CHARS`] base32 characters.
    #[error("the id of a token has 16 characters of a-z and 2-7")]
    Id,
    /// The secret is not [`SECRET_CHARS`] base32 characters.
    #[error("the secret of a token has 52 characters of a-z and 2-7")]
    Secret,
}

/// Parses a token strictly: exact length, exact alphabet, no white space.
///
/// # Errors
/// [`TokenFormatError`]; the length is checked before any byte of the text is looked at.
pub fn parse(text: &str) -> Result<ParsedToken<'_>, TokenFormatError> {
    if text.len() > MAX_TOKEN_CHARS {
        return Err(TokenFormatError::Length(text.len()));
    }
    let (kind, rest) = split_kind(text).ok_or(TokenFormatError::Prefix)?;
    if rest.len() != ID_CHARS + 1 + SECRET_CHARS {
        return Err(TokenFormatError::Length(text.len()));
    }
    let (id, secret) = rest.split_once('_').ok_or(TokenFormatError::Id)?;
    let id = id.parse()?;
    if secret.len() != SECRET_CHARS || !secret.as_bytes().iter().all(is_base32) {
        return Err(TokenFormatError::Secret);
    }
    Ok(ParsedToken { kind, id, secret })
}

fn split_kind(text: &str) -> Option<(TokenKind, &str)> {
    [TokenKind::Agent, TokenKind::User]
        .into_iter()
        .find_map(|kind| text.strip_prefix(kind.prefix()).map(|rest| (kind, rest)))
}

/// The text of a token, from its id and the random bytes of its secret.
pub fn format(kind: TokenKind, id: TokenId, secret: &[u8; SECRET_BYTES]) -> SecretString {
    SecretString::from(format!("{}{id}_{}", kind.prefix(), base32(secret)))
}

/// Unpadded lowercase base32 (RFC 4648, section 6): survives DNS labels, double clicks and being read aloud.
fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

fn is_base32(byte: &u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'2'..=b'7')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    #[test]
    fn lengths_are_as_documented() {
        let id = TokenId::from_random([0xff; ID_BYTES]);
        assert_eq!(
            format(TokenKind::Agent, id, &[0; SECRET_BYTES])
                .expose_secret()
                .len(),
            83
        );
        assert_eq!(
            format(TokenKind::User, id, &[0; SECRET_BYTES])
                .expose_secret()
                .len(),
            82
        );
        assert_eq!(MAX_TOKEN_CHARS, 83);
        assert_eq!(id.as_str(), "7777777777777777");
    }

    #[test]
    fn refuses_what_is_nearly_a_token() {
        let good = format(
            TokenKind::User,
            TokenId::from_random([1; ID_BYTES]),
            &[2; SECRET_BYTES],
        );
        let good = good.expose_secret();
        assert_eq!(
            parse(&format!("{good}a")),
            Err(TokenFormatError::Length(83))
        );
        assert_eq!(parse(&format!(" {good}")), Err(TokenFormatError::Prefix));
        assert_eq!(parse(&good.to_uppercase()), Err(TokenFormatError::Prefix));
        assert_eq!(
            parse(&good.replacen("user", "root", 1)),
            Err(TokenFormatError::Prefix)
        );
        assert_eq!(
            parse(&good.replacen('_', "-", 3)),
            Err(TokenFormatError::Prefix)
        );
        assert_eq!(parse(""), Err(TokenFormatError::Prefix));
        assert_eq!(
            parse(&"é".repeat(1 << 20)),
            Err(TokenFormatError::Length(2 << 20))
        );
    }

    #[test]
    fn debug_shows_the_id_and_no_secret() {
        let text = format(
            TokenKind::User,
            TokenId::from_random([1; ID_BYTES]),
            &[2; SECRET_BYTES],
        );
        let parsed = parse(text.expose_secret()).unwrap();
        let shown = format!("{parsed:?} {text:?}");
        assert!(shown.contains(parsed.id.as_str()), "{shown}");
        assert!(!shown.contains(parsed.secret), "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_formatted_parses_back(
            agent: bool, id: [u8; ID_BYTES], secret: [u8; SECRET_BYTES],
        ) {
            let kind = if agent { TokenKind::Agent } else { TokenKind::User };
            let id = TokenId::from_random(id);
            let text = format(kind, id, &secret);
            let parsed = parse(text.expose_secret()).unwrap();
            prop_assert_eq!((parsed.kind, parsed.id), (kind, id));
            prop_assert_eq!(parsed.secret, base32(&secret));
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(serde_json::from_str::<TokenId>(&json).unwrap(), id);
        }

        #[test]
        fn no_text_panics(text in ".{0,120}") {
            if let Ok(parsed) = parse(&text) {
                prop_assert_eq!(parsed.secret.len(), SECRET_CHARS);
            }
        }

        #[test]
        fn one_wrong_byte_is_no_other_token(at in 0usize..82, byte in 0u8..128) {
            let good = format(TokenKind::User, TokenId::from_random([9; ID_BYTES]), &[7; SECRET_BYTES]);
            let mut bytes = good.expose_secret().as_bytes().to_vec();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let text = String::from_utf8(bytes).unwrap();
            match parse(&text) {
                Ok(parsed) => prop_assert_eq!(format!("pipeops_user_{}_{}", parsed.id, parsed.secret), text),
                Err(_) => prop_assert!(at < 13 || at == 29 || !is_base32(&byte)),
            }
        }
    }
}
