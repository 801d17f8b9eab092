//! Whether the path of a carrier over TCP loses packets, by what the kernel counts of its
//! connection (sock_diag(7), `INET_DIAG_INFO`).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use tokio::net::TcpStream;

use super::tend::FAR;

/// Segments of one direction before their loss is judged.
const ENOUGH: u32 = 200;

/// One segment in so many sent again is a loss. A connection that fills its path loses by its own
/// doing too: cubic over 100 ms a tenth of this or less.
const LOSSY: u32 = 200;

/// One segment in so many before its turn is a loss on the way here: all that follow a lost one
/// within a round trip come so.
const DISORDERED: u32 = 50;

/// Judgements one after the other before the path is called lossy: a start that overshoots loses in
/// one or two.
const AGAIN: u32 = 4;

/// `INET_DIAG_NOCOOKIE`: whichever socket has these addresses.
const ANY_COOKIE: [u8; 8] = [0xff; 8];

/// An answer about one socket has some 600 bytes.
const ANSWER: usize = 4096;

/// The two ends of a TCP connection.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
}

impl Ends {
    pub(super) fn of(stream: &TcpStream) -> io::Result<Self> {
        Ok(Self {
            local: stream.local_addr()?,
            peer: stream.peer_addr()?,
        })
    }
}

/// What the kernel has counted of a connection.
#[derive(Debug, Clone, Copy, Default)]
struct Segments {
    sent: u32,
    sent_again: u32,
    received: u32,
    disordered: u32,
    /// The shortest round trip of the connection itself, in microseconds.
    round_trip: u32,
}

/// Watches the path of one carrier.
#[derive(Debug)]
pub(super) struct PathWatch {
    /// None where the kernel does not tell, or there is no TCP.
    ends: Option<Ends>,
    judged: Segments,
    bad: u32,
}

impl PathWatch {
    pub(super) fn new(ends: Option<Ends>) -> Self {
        Self {
            ends,
            judged: Segments::default(),
            bad: 0,
        }
    }

    /// Looks again; true once the path has lost packets [`AGAIN`] times in a row.
    pub(super) fn is_lossy(&mut self) -> bool {
        let Some(ends) = self.ends else { return false };
        match read(ends) {
            Ok(now) => self.judge(now),
            Err(error) => {
                tracing::debug!(%error, "the kernel does not tell what a carrier's path loses");
                self.ends = None;
                false
            }
        }
    }

    fn judge(&mut self, now: Segments) -> bool {
        let before = self.judged;
        let sent = now.sent.wrapping_sub(before.sent);
        let received = now.received.wrapping_sub(before.received);
        if sent < ENOUGH && received < ENOUGH {
            return false;
        }
        let sent_again = now.sent_again.wrapping_sub(before.sent_again);
        let disordered = now.disordered.wrapping_sub(before.disordered);
        let loses = sent >= ENOUGH && sent_again >= sent / LOSSY
            || received >= ENOUGH && disordered >= received / DISORDERED;
        // To a near peer, a slow proxy say, segments are sent again without having been lost.
        let far = Duration::from_micros(now.round_trip.into()) >= FAR;
        self.judged = now;
        self.bad = if loses && far { self.bad + 1 } else { 0 };
        self.bad >= AGAIN
    }
}

/// Asks the kernel, which answers before `send` returns.
fn read(ends: Ends) -> io::Result<Segments> {
    let socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    socket.send(&request(ends), 0)?;
    let mut answer = Vec::with_capacity(ANSWER);
    socket.recv(&mut answer, 0)?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&answer)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    if let NetlinkPayload::Error(error) = &answer.payload {
        return Err(error.to_io());
    }
    let NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) = answer.payload
    else {
        let what = "the kernel's answer is about no socket";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    };
    let counted = response.nlas.iter().find_map(|nla| {
        let Nla::TcpInfo(info) = nla else { return None };
        Some(Segments {
            sent: info.data_segs_out,
            sent_again: info.total_retrans,
            received: info.data_segs_in,
            disordered: info.rcv_ooopack,
            round_trip: info.min_rtt,
        })
    });
    counted.ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn request(Ends { local, peer }: Ends) -> Vec<u8> {
    let id = SocketId {
        source_port: local.port(),
        destination_port: peer.port(),
        source_address: local.ip(),
        destination_address: peer.ip(),
        interface_id: 0,
        cookie: ANY_COOKIE,
    };
    let request = InetRequest {
        family: match local.ip() {
            IpAddr::V4(_) => AF_INET,
            IpAddr::V6(_) => AF_INET6,
        },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::INFO,
        states: StateFlags::all(),
        socket_id: id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const DISTANT: Segments = Segments {
        sent: 0,
        sent_again: 0,
        received: 0,
        disordered: 0,
        round_trip: 20_000,
    };

    /// Which look, of a hundred, is the first to find a lossy path.
    fn lossy_at(counted: impl Fn(u32) -> Segments) -> Option<u32> {
        let mut watch = PathWatch::new(None);
        (1..=100).find(|look| watch.judge(counted(*look)))
    }

    #[test]
    fn loss_in_four_looks_one_after_the_other_makes_a_lossy_path() {
        let sending = lossy_at(|look| Segments {
            sent: look * 1_000,
            sent_again: look * 10,
            ..DISTANT
        });
        assert_eq!(sending, Some(4));
        let receiving = lossy_at(|look| Segments {
            received: look * 1_000,
            disordered: look * 50,
            ..DISTANT
        });
        assert_eq!(receiving, Some(4));
    }

    #[test]
    fn a_near_peer_that_is_slow_makes_none() {
        let near = lossy_at(|look| Segments {
            sent: look * 1_000,
            sent_again: look * 100,
            round_trip: 100,
            ..DISTANT
        });
        assert_eq!(near, None);
    }

    #[test]
    fn a_start_that_overshoots_does_not() {
        let overshoot = lossy_at(|look| Segments {
            sent: look * 1_000,
            sent_again: 600,
            ..DISTANT
        });
        assert_eq!(overshoot, None);
    }

    #[test]
    fn a_few_segments_are_judged_once_there_are_enough_of_them() {
        let few = lossy_at(|look| Segments {
            sent: look * 50,
            sent_again: look,
            ..DISTANT
        });
        assert_eq!(few, Some(4 * ENOUGH / 50));
    }

    #[tokio::test]
    async fn the_kernel_tells_what_it_has_sent_and_received() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let peer = listener.local_addr().unwrap();
            let (client, server) = tokio::join!(TcpStream::connect(peer), listener.accept());
            let (mut client, mut server) = (client.unwrap(), server.unwrap().0);
            client.write_all(b"there").await.unwrap();
            server.read_exact(&mut [0; 5]).await.unwrap();
            server.write_all(b"and back").await.unwrap();
            client.read_exact(&mut [0; 8]).await.unwrap();
            let segments = read(Ends::of(&client).unwrap()).unwrap();
            assert_eq!((segments.sent, segments.received), (1, 1), "{segments:?}");
            assert_eq!((segments.sent_again, segments.disordered), (0, 0));
        }
    }

    #[test]
    fn a_connection_that_is_not_there_is_an_error() {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        let ends = Ends {
            local: nobody,
            peer: nobody,
        };
        assert!(read(ends).is_err());
        let mut watch = PathWatch::new(Some(ends));
        assert!(!watch.is_lossy());
        assert!(watch.ends.is_none(), "asked once and not again");
    }
}
