//! Which address the trial's gateway takes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

/// Where everybody looks first.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// The address to listen on, and a word where it is not the default for a reason.
///
/// The gateway's workers share a port (`SO_REUSEPORT`), so a second gateway of the same user would
/// get its part of the first one's connections instead of an error: a plain bind finds out before.
///
/// # Errors
/// The address that was asked for and can not be had; for port 0 the gateway finds out itself.
pub(super) fn choose(
    wanted: Option<SocketAddr>,
) -> Result<(SocketAddr, Option<String>), (SocketAddr, io::Error)> {
    let address = wanted.unwrap_or(DEFAULT);
    if address.port() == 0 {
        return Ok((address, None));
    }
    match TcpListener::bind(address) {
        Ok(_) => Ok((address, None)),
        Err(error) if wanted.is_none() && error.kind() == io::ErrorKind::AddrInUse => {
            let note = format!(
                "port {} is taken by another program, so a free one was chosen",
                address.port()
            );
            Ok((SocketAddr::new(address.ip(), 0), Some(note)))
        }
        Err(error) => Err((address, error)),
    }
}

/// Where this machine reaches what listens at `address`.
pub(super) fn reach(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V4(_) | IpAddr::V6(_) => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_taken_is_not_shared() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let (refused, error) = choose(Some(address)).unwrap_err();
        assert_eq!((refused, error.kind()), (address, io::ErrorKind::AddrInUse));
        drop(taken);
        assert_eq!(choose(Some(address)).unwrap(), (address, None));
    }

    #[test]
    fn an_address_for_all_is_reached_on_loopback() {
        assert_eq!(
            reach("0.0.0.0:1".parse().unwrap()),
            "127.0.0.1:1".parse().unwrap()
        );
        assert_eq!(reach("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
        assert_eq!(
            reach("10.0.0.1:1".parse().unwrap()),
            "10.0.0.1:1".parse().unwrap()
        );
    }
}
