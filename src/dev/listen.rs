//! Which addresses the trial takes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use crate::admin::{AdminConfig, MonitoringConfig};

/// Where everybody looks first.
const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// Ports of probes and metrics, as the two programs have them by themselves.
const AGENT: [u16; 2] = [8080, 9091];
const GATEWAY: [u16; 2] = [8081, 9092];

/// Where a program tells how it is.
pub(super) type Face = (AdminConfig, MonitoringConfig);

/// Where both do.
pub(super) struct Faces {
    pub(super) agent: Face,
    pub(super) gateway: Face,
}

/// The gateway's address, and a word where it is not the default for a reason.
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

/// Where probes and metrics are served on loopback, and a word where that is not the default. Whoever
/// wants a free port for the gateway wants no others taken.
pub(super) fn faces(gateway: Option<SocketAddr>) -> (Faces, Option<String>) {
    let mut taken = Vec::new();
    let any = gateway.is_some_and(|address| address.port() == 0);
    let mut at = |[own, metrics]: [u16; 2]| {
        let mut listen = |port| {
            let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if any {
                return loopback(0).into();
            }
            if TcpListener::bind(loopback(port)).is_ok() {
                return loopback(port).into();
            }
            taken.push(port.to_string());
            loopback(0).into()
        };
        let (mut admin, mut monitoring) = (AdminConfig::at(own), MonitoringConfig::at(metrics));
        admin.listen = listen(own);
        monitoring.prometheus.listen = listen(metrics);
        (admin, monitoring)
    };
    let faces = Faces {
        agent: at(AGENT),
        gateway: at(GATEWAY),
    };
    let note = match taken.as_slice() {
        [] => return (faces, None),
        [port] => format!("port {port} is taken by another program, so a free one was chosen"),
        ports => format!(
            "ports {} are taken by other programs, so free ones were chosen",
            ports.join(", ")
        ),
    };
    (faces, Some(note))
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
    fn probes_and_metrics_move_to_free_ports() {
        let port = |(admin, monitoring): &Face| {
            let listen = [admin.listen, monitoring.prometheus.listen];
            listen.map(|listen| listen.candidates()[0].port())
        };
        let (free, note) = faces(Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!([port(&free.agent), port(&free.gateway)], [[0, 0], [0, 0]]);
        assert_eq!(note, None);
        // Taken by us or by someone else: both will do.
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 9091));
        let (moved, note) = faces(None);
        assert_eq!(port(&moved.agent)[1], 0);
        assert!(note.unwrap().contains("9091"));
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
