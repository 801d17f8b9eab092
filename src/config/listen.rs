//! Addresses to listen on.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Set in every container of a pod (Kubernetes, "Discovering services").
const IN_POD: &str = "KUBERNETES_SERVICE_HOST";

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080`, or `:8080` for the default reach, which
/// is every address of a pod, and loopback alone elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    ip: Option<IpAddr>,
    port: u16,
}

/// A text that is not an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an address such as 127.0.0.1:8080, or :8080")]
pub struct ListenError;

impl Listen {
    /// `:port`.
    #[must_use]
    pub const fn port(port: u16) -> Self {
        Self { ip: None, port }
    }

    /// The addresses to try, best first: an IPv6 wildcard takes IPv4 connections too, and is not
    /// to be had where IPv6 is off.
    #[must_use]
    pub fn candidates(self) -> Vec<SocketAddr> {
        self.resolve(std::env::var_os(IN_POD).is_some())
    }

    fn resolve(self, in_pod: bool) -> Vec<SocketAddr> {
        let at = |ip| SocketAddr::new(ip, self.port);
        match self.ip {
            Some(ip) => vec![at(ip)],
            None if in_pod => vec![
                at(Ipv6Addr::UNSPECIFIED.into()),
                at(Ipv4Addr::UNSPECIFIED.into()),
            ],
            None => vec![at(Ipv4Addr::LOCALHOST.into())],
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self {
            ip: Some(address.ip()),
            port: address.port(),
        }
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if let Some(port) = text.strip_prefix(':') {
            return port.parse().map(Self::port).map_err(|_| ListenError);
        }
        let address: SocketAddr = text.parse().map_err(|_| ListenError)?;
        Ok(address.into())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => write!(f, ":{}", self.port),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "Listen".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "listen",
            "pattern": r"^([0-9.]+|\[[0-9A-Fa-f:.]+\])?:[0-9]{1,5}$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_port_reaches_a_pod_and_otherwise_loopback() {
        let listen: Listen = ":8080".parse().unwrap();
        assert_eq!(listen.resolve(false), ["127.0.0.1:8080".parse().unwrap()]);
        assert_eq!(
            listen.resolve(true),
            [
                "[::]:8080".parse().unwrap(),
                "0.0.0.0:8080".parse().unwrap()
            ]
        );
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in [":8080", "127.0.0.1:0", "[::1]:9091", "0.0.0.0:65535"] {
            let listen: Listen = text.parse().unwrap();
            assert_eq!(listen.to_string(), text);
        }
        for text in ["", "8080", "localhost:8080", ":65536", "::1:80"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
