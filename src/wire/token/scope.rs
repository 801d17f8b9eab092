//! What a token may do: a role inside the cluster, scopes at the gateway.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Which ServiceAccount of the cluster a user's requests are made as: `pipeops-<role>`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and changes workloads.
    Editor,
    /// Whatever the chart grants to `pipeops-admin`.
    Admin,
}

impl Role {
    /// The word in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        [Self::Viewer, Self::Editor, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(ScopeError::Role)
    }
}

/// A text that is no role or no scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScopeError {
    /// No such role.
    #[error("must be viewer, editor or admin")]
    Role,
    /// No such scope.
    #[error("must be tunnel:<service>, tunnel:*, deploy, exec, logs, read or admin")]
    Scope,
}

/// One thing a token may do at the gateway.
///
/// `tunnel:<service>` (a DNS label) or `tunnel:*`, `deploy`, `exec`, `logs`, `read`, `admin`. `admin` is the gateway's
/// own API (tokens and clusters); it implies none of the others, so a leaked one reads no cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Scope(Box<str>);

impl Scope {
    const ALL_TUNNELS: &'static str = "tunnel:*";
    const TUNNEL: &'static str = "tunnel:";

    /// The scope of every service's tunnel, `tunnel:*`.
    pub fn all_tunnels() -> Self {
        Self(Self::ALL_TUNNELS.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this scope allows `wanted`: they are equal, or this is `tunnel:*` and `wanted` names a tunnel.
    pub fn permits(&self, wanted: &str) -> bool {
        *self.0 == *wanted || (*self.0 == *Self::ALL_TUNNELS && wanted.starts_with(Self::TUNNEL))
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let known = matches!(
            text,
            Self::ALL_TUNNELS | "deploy" | "exec" | "logs" | "read" | "admin"
        );
        if known || text.strip_prefix(Self::TUNNEL).is_some_and(is_service) {
            Ok(Self(text.into()))
        } else {
            Err(ScopeError::Scope)
        }
    }
}

fn is_service(name: &str) -> bool {
    let edges = name.starts_with('-') || name.ends_with('-');
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=63).contains(&name.len()) && !edges && name.bytes().all(allowed)
}

impl TryFrom<String> for Scope {
    type Error = ScopeError;

    fn try_from(text: String) -> Result<Self, ScopeError> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0.into()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn only_known_scopes_parse() {
        for good in [
            "tunnel:kubernetes",
            "tunnel:*",
            "deploy",
            "exec",
            "logs",
            "read",
            "admin",
        ] {
            assert_eq!(scope(good).as_str(), good);
        }
        for bad in [
            "",
            "tunnel",
            "tunnel:",
            "tunnel:-a",
            "tunnel:a/b",
            "tunnel:**",
            "*",
            "write",
            "Tunnel:a",
            "exec ",
        ] {
            assert_eq!(bad.parse::<Scope>(), Err(ScopeError::Scope), "{bad}");
        }
    }

    #[test]
    fn permits_what_it_says_and_no_more() {
        assert!(scope("tunnel:grafana").permits("tunnel:grafana"));
        assert!(!scope("tunnel:grafana").permits("tunnel:grafana2"));
        assert!(!scope("tunnel:grafana").permits("tunnel:*"));
        assert!(scope("tunnel:*").permits("tunnel:grafana"));
        assert!(!scope("tunnel:*").permits("exec"));
        assert!(!scope("admin").permits("tunnel:kubernetes"));
    }

    #[test]
    fn roles_are_lowercase() {
        assert_eq!("editor".parse(), Ok(Role::Editor));
        assert_eq!("Editor".parse::<Role>(), Err(ScopeError::Role));
        assert_eq!(serde_json::to_string(&Role::Admin).unwrap(), "\"admin\"");
    }
}
