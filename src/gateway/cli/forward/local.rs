//! Where a forward begins.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// The near end of a forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Local {
    /// Standard input and output, once: for ssh's `ProxyCommand`.
    Stdio,
    /// A port of this machine.
    Listen(SocketAddr),
}

/// A text that is no such place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be ADDRESS:PORT such as 127.0.0.1:5432, a port alone, or -")]
pub struct LocalError;

impl FromStr for Local {
    type Err = LocalError;

    fn from_str(text: &str) -> Result<Self, LocalError> {
        if text == "-" {
            return Ok(Self::Stdio);
        }
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let port = text.strip_prefix("localhost:").unwrap_or(text);
        let address = port.parse().map(loopback).or_else(|_| text.parse());
        address.map(Self::Listen).map_err(|_| LocalError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_type() {
        let listen = |text: &str| Ok(Local::Listen(text.parse().unwrap()));
        assert_eq!("-".parse(), Ok(Local::Stdio));
        assert_eq!("5432".parse(), listen("127.0.0.1:5432"));
        assert_eq!("localhost:0".parse(), listen("127.0.0.1:0"));
        assert_eq!("[::1]:53".parse(), listen("[::1]:53"));
        for bad in ["", "db:5432", "70000", ":5432", "::1"] {
            assert_eq!(bad.parse::<Local>(), Err(LocalError), "{bad}");
        }
    }
}
