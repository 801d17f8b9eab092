//! What a data carrier can run over, and how a connection is asked to become one.

use http::HeaderMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{MAX_FIRST_WINDOW, MIN_FIRST_WINDOW};

/// The protocol that a connection switches to, as `Upgrade` or as a WebSocket's subprotocol.
pub const MUX_PROTOCOL: &str = "pipeops-mux";

/// The header of `GET /v1/agent/connect` by which an agent says how many carriers each of the
/// gateway's workers may have of it.
pub const CARRIERS_HEADER: &str = "x-pipeops-carriers";

/// The header by which each end of a carrier of bytes says how many it takes on a new stream before
/// it says more: its first receive window. Without it on both sides it is yamux's own, 256 KiB.
pub const WINDOW_HEADER: &str = "x-pipeops-window";

/// The first receive window that a head tells; `None` where it tells none that can be.
#[must_use]
pub fn window(headers: &HeaderMap) -> Option<u32> {
    let text = headers.get(WINDOW_HEADER)?.to_str().ok()?;
    let window = text.parse().ok()?;
    (MIN_FIRST_WINDOW..=MAX_FIRST_WINDOW)
        .contains(&window)
        .then_some(window)
}

/// What a carrier runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CarrierKind {
    /// TLS over TCP, after `Upgrade: pipeops-mux`.
    Tls,
    /// QUIC, on the same port over UDP.
    Quic,
    /// Binary messages of a WebSocket: what an HTTP proxy lets pass when it lets pass anything.
    WebSocket,
}

impl CarrierKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tls, Self::Quic, Self::WebSocket];

    /// Its name, in messages, metrics and the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Quic => "quic",
            Self::WebSocket => "websocket",
        }
    }

    /// The kind of this name; `None` for one that this version does not know.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for CarrierKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_told_only_within_its_limits() {
        let told = |text: &'static str| {
            let value = http::HeaderValue::from_static(text);
            window(&HeaderMap::from_iter([(
                WINDOW_HEADER.parse().unwrap(),
                value,
            )]))
        };
        assert_eq!(told("65536"), Some(65536));
        for text in ["", "0", "1", "-1", "64K", "16777217", "99999999999"] {
            assert_eq!(told(text), None, "{text}");
        }
        assert_eq!(window(&HeaderMap::new()), None);
    }

    #[test]
    fn a_kind_has_one_name_everywhere() {
        for kind in CarrierKind::ALL {
            assert_eq!(CarrierKind::named(kind.as_str()), Some(kind));
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
        assert_eq!(CarrierKind::named("pigeon"), None);
    }
}
