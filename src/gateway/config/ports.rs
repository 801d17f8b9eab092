//! Ports that lead to one service, without a token.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::config::{Path, Violation};

/// A port of the gateway that leads to one service of one cluster. It asks nobody for a token:
/// whoever is in `allow`, and whoever can send from an address in it, reaches the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortConfig {
    /// Where to listen.
    #[schemars(extend("format" = "address", "examples" = ["10.0.0.5:5432"]))]
    pub listen: SocketAddr,
    /// What the service is, as in the agent's `tunnel.forwards`.
    #[serde(default)]
    pub protocol: PortProtocol,
    /// The cluster's name.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"), length(max = 63), extend("examples" = ["production"]))]
    pub cluster: String,
    /// The service's name.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"), length(max = 63), extend("examples" = ["db"]))]
    pub service: String,
    /// The addresses that may use it; all others are turned away.
    pub allow: Vec<Network>,
}

/// What a port carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    /// Connections.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
}

/// A network of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Network(pub IpNet);

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "cidr", "examples": ["10.0.0.0/8"]})
    }
}

impl PortConfig {
    /// Whether this address may use it.
    #[must_use]
    pub fn allows(&self, peer: IpAddr) -> bool {
        // A socket for both families has IPv4 peers as ::ffff:a.b.c.d.
        let peer = peer.to_canonical();
        self.allow.iter().any(|net| net.0.contains(&peer))
    }

    /// Adds what is wrong with all of them together.
    pub(super) fn check(ports: &[Self], public: SocketAddr, found: &mut Vec<Violation>) {
        for (at, port) in ports.iter().enumerate() {
            let path = Path::dotted("ports").index(at);
            if port.allow.is_empty() {
                found.push(
                    Violation::new(path.key("allow"), "must name at least one network")
                        .help("a port asks for no token: say who may use it, such as 10.0.0.0/8"),
                );
            }
            let earlier = ports.iter().take(at);
            let same =
                |other: &Self| (other.listen, other.protocol) == (port.listen, port.protocol);
            let public = port.protocol == PortProtocol::Tcp && port.listen == public;
            if port.listen.port() != 0 && (public || earlier.into_iter().any(same)) {
                found.push(Violation::new(
                    path.key("listen"),
                    "is listened on already: choose another",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_peer_of_a_socket_for_both_is_itself() {
        let port = PortConfig {
            listen: ([0, 0, 0, 0], 1).into(),
            protocol: PortProtocol::Tcp,
            cluster: String::new(),
            service: String::new(),
            allow: vec![
                Network("10.0.0.0/8".parse().unwrap()),
                Network("fd00::/8".parse().unwrap()),
            ],
        };
        for (peer, allowed) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("::ffff:11.0.0.1", false),
            ("fd00::1", true),
            ("::1", false),
        ] {
            assert_eq!(port.allows(peer.parse().unwrap()), allowed, "{peer}");
        }
    }
}
