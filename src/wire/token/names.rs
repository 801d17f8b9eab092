//! Names that come from outside: checked once, where they enter, and typed from there on.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name that breaks its rule. `Display` is the `reason` of the contract's error body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct NameError {
    /// The rule, in words that fit after the name of a field.
    pub reason: &'static str,
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $rule:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                $rule(text).map_or_else(|| Ok(Self(text.into())), |reason| Err(NameError { reason }))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.into()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

checked_name! {
    /// What people call a cluster: `^[a-z0-9-]+$`, at most 63 characters (one DNS label, one label value in Kubernetes).
    ClusterName, cluster_name_fault
}

checked_name! {
    /// What hosts and routes call a cluster: `^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`.
    ///
    /// At most 52 characters, so that `tunnel-{id}` is a DNS label (63) with room to spare.
    ClusterId, cluster_id_fault
}

checked_name! {
    /// Who holds a token, as audit lines and `Impersonate-Extra-*` headers say it: 1 to 128 characters of
    /// `A-Z a-z 0-9 . _ @ : + / -`, so that it needs no escaping anywhere.
    Subject, subject_fault
}

impl ClusterId {
    /// Random bytes in a generated id: 50 bits of them are used.
    pub const RANDOM_BYTES: usize = 7;

    /// A generated id: `cls-` and 10 lowercase base32 characters.
    pub fn from_random(bytes: [u8; Self::RANDOM_BYTES]) -> Self {
        let tail: String = super::base32(&bytes).chars().take(10).collect();
        Self(format!("cls-{tail}").into())
    }
}

impl From<ClusterName> for Subject {
    /// An agent's subject is its cluster's name, which the rule for subjects includes.
    fn from(name: ClusterName) -> Self {
        Self(name.0)
    }
}

fn is_label_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')
}

fn cluster_name_fault(text: &str) -> Option<&'static str> {
    if text.len() > 63 {
        Some("must have at most 63 characters")
    } else if text.is_empty() || !text.bytes().all(is_label_byte) {
        Some("must match pattern ^[a-z0-9-]+$")
    } else {
        None
    }
}

fn cluster_id_fault(text: &str) -> Option<&'static str> {
    let edges = text.starts_with('-') || text.ends_with('-');
    let fits = (1..=52).contains(&text.len()) && text.bytes().all(is_label_byte);
    (edges || !fits).then_some("must match pattern ^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$")
}

fn subject_fault(text: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@:+/-".contains(&byte);
    let fits = (1..=128).contains(&text.len()) && text.bytes().all(allowed);
    (!fits).then_some("must match pattern ^[A-Za-z0-9._@:+/-]{1,128}$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_follow_the_contract() {
        for good in ["a", "-", "production-cluster", &"x".repeat(63)] {
            assert!(good.parse::<ClusterName>().is_ok(), "{good}");
        }
        for bad in ["", "Prod", "a_b", "a.b", "ü", "a b", "a\n"] {
            let error = bad.parse::<ClusterName>().unwrap_err();
            assert_eq!(
                error.to_string(),
                "must match pattern ^[a-z0-9-]+$",
                "{bad}"
            );
        }
        assert!("x".repeat(64).parse::<ClusterName>().is_err());
    }

    #[test]
    fn cluster_ids_fit_a_host_name() {
        for good in ["1", "cls-123abc", "cls123", &"x".repeat(52)] {
            assert!(good.parse::<ClusterId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", &"x".repeat(53)] {
            assert!(bad.parse::<ClusterId>().is_err(), "{bad}");
        }
        let generated = ClusterId::from_random([0xa5; ClusterId::RANDOM_BYTES]);
        assert_eq!(generated.as_str().len(), 14);
        assert_eq!(generated.as_str().parse(), Ok(generated));
    }

    #[test]
    fn subjects_fit_a_header() {
        assert!("alice@example.com".parse::<Subject>().is_ok());
        assert!(
            "system:serviceaccount:ci/deployer"
                .parse::<Subject>()
                .is_ok()
        );
        for bad in ["", "a b", "a\r\nb", "é", &"x".repeat(129)] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }

    #[test]
    fn serde_checks_too() {
        assert!(serde_json::from_str::<ClusterName>("\"Bad\"").is_err());
        assert_eq!(
            serde_json::from_str::<ClusterName>("\"ok\"")
                .unwrap()
                .as_str(),
            "ok"
        );
    }
}
