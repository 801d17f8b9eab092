//! The protocols that a forward speaks which is no HTTP: how they are asked for.

use super::head::RequestHead;

/// What the bytes of an upgraded exchange are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawProtocol {
    /// A TCP connection's, as they are.
    Tcp,
    /// Datagrams in capsules (RFC 9297), as RFC 9298 has them.
    Udp,
}

impl RawProtocol {
    /// The token in `Upgrade`, and the protocol of the request's head.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "connect-udp",
        }
    }

    /// The protocol of a token; in any casing, as `Upgrade` has it (RFC 9110, section 7.8).
    #[must_use]
    pub fn of(token: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp]
            .into_iter()
            .find(|protocol| protocol.token().eq_ignore_ascii_case(token))
    }

    /// The protocol that a request asks a whole service for. With a path behind the service's name
    /// it is some HTTP service's own business: Docker's API has an `Upgrade: tcp` too.
    #[must_use]
    pub fn asked_by(head: &RequestHead) -> Option<Self> {
        let bare = matches!(head.target.as_str(), "" | "/");
        Self::of(head.upgrade.as_deref().filter(|_| bare)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_in_any_casing() {
        for protocol in [RawProtocol::Tcp, RawProtocol::Udp] {
            assert_eq!(RawProtocol::of(protocol.token()), Some(protocol));
        }
        assert_eq!(RawProtocol::of("Connect-UDP"), Some(RawProtocol::Udp));
        assert_eq!(RawProtocol::of("websocket"), None);
    }
}
