//! A network path between an agent and a gateway: UDP with a delay, a rate, a queue and loss, and
//! TCP as it is, at one port.

use socket2::SockRef;
use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::Builder,
    select,
    sync::{Notify, mpsc},
    time::{Instant, sleep_until},
};

/// What a path does to packets, the same in both directions.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// From one end to the other.
    pub delay: Duration,
    /// Bytes a second.
    pub rate: u64,
    /// Bytes that wait for their turn; those beyond are lost.
    pub queue: u64,
    /// Packets lost of a thousand.
    pub loss: u64,
}

impl Path {
    /// One that is in nobody's way.
    pub const CLEAR: Self = Self {
        delay: Duration::ZERO,
        rate: 10_000_000_000,
        queue: 1 << 30,
        loss: 0,
    };

    /// 100 ms there and back, 200 Mbit/s, and a queue of as much as is on its way.
    pub const fn wide(loss: u64) -> Self {
        Self {
            delay: Duration::from_millis(50),
            rate: 25_000_000,
            queue: 2_500_000,
            loss,
        }
    }
}

/// A path, until dropped; a thread of its own moves the packets.
#[derive(Debug)]
pub struct Link {
    pub addr: SocketAddr,
    rebind: Arc<Notify>,
    stop: Arc<Notify>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.notify_one();
    }
}

impl Link {
    /// A path to this address.
    pub fn to(gateway: SocketAddr, path: Path) -> Self {
        let port = super::free_port();
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let (rebind, stop) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (rebinds, stopped) = (Arc::clone(&rebind), Arc::clone(&stop));
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let tcp = TcpListener::bind(addr).await.unwrap();
                let udp = Arc::new(udp(addr));
                ready.send(()).unwrap();
                select! {
                    () = stopped.notified() => {}
                    () = pass_tcp(tcp, gateway) => {}
                    () = pass_udp(udp, gateway, path, &rebinds) => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Self { addr, rebind, stop }
    }

    /// The gateway sees the agent at another address from now on.
    pub fn rebind(&self) {
        self.rebind.notify_one();
    }
}

/// A socket that loses nothing while this thread waits for its turn, as far as the system lets.
fn udp(addr: SocketAddr) -> UdpSocket {
    let socket = std::net::UdpSocket::bind(addr).unwrap();
    socket.set_nonblocking(true).unwrap();
    drop(SockRef::from(&socket).set_recv_buffer_size(8 << 20));
    UdpSocket::from_std(socket).unwrap()
}

async fn pass_tcp(listener: TcpListener, gateway: SocketAddr) {
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect(gateway).await {
                // Whoever is cut off knows.
                drop(copy_bidirectional(&mut near, &mut far).await);
            }
        });
    }
}

struct Packet {
    bytes: Vec<u8>,
    by: Arc<UdpSocket>,
    to: SocketAddr,
}

/// More than a path holds: what is lost is lost by the path's own rules.
const BACKLOG: usize = 1 << 16;

async fn pass_udp(near: Arc<UdpSocket>, gateway: SocketAddr, path: Path, rebind: &Notify) {
    let (up, ups) = mpsc::channel(BACKLOG);
    let (down, downs) = mpsc::channel(BACKLOG);
    tokio::spawn(shape(ups, path, 1));
    tokio::spawn(shape(downs, path, 2));
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, agent) = select! {
            got = near.recv_from(&mut buffer) => got.unwrap(),
            () = rebind.notified() => {
                flows.clear();
                continue;
            }
        };
        let far = match flows.entry(agent) {
            Entry::Occupied(flow) => Arc::clone(flow.get()),
            Entry::Vacant(flow) => {
                let far = Arc::new(udp("127.0.0.1:0".parse().unwrap()));
                let (from, to) = (Arc::clone(&far), Arc::clone(&near));
                tokio::spawn(back(from, to, agent, down.clone()));
                Arc::clone(flow.insert(far))
            }
        };
        let packet = Packet {
            bytes: buffer[..length].to_vec(),
            by: far,
            to: gateway,
        };
        up.send(packet).await.unwrap();
    }
}

async fn back(
    far: Arc<UdpSocket>,
    near: Arc<UdpSocket>,
    agent: SocketAddr,
    down: mpsc::Sender<Packet>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(length) = far.recv(&mut buffer).await {
        let packet = Packet {
            bytes: buffer[..length].to_vec(),
            by: Arc::clone(&near),
            to: agent,
        };
        if down.send(packet).await.is_err() {
            return;
        }
    }
}

/// One direction.
async fn shape(mut packets: mpsc::Receiver<Packet>, path: Path, seed: u64) {
    let mut flying: VecDeque<(Instant, Packet)> = VecDeque::new();
    let mut free = Instant::now();
    let mut random = seed;
    loop {
        let due = flying.front().map(|(due, _)| *due);
        let next = select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                while let Some((_, packet)) = flying.pop_front_if(|(due, _)| *due <= Instant::now()) {
                    // A full socket is a loss like another.
                    drop(packet.by.send_to(&packet.bytes, packet.to).await);
                }
                continue;
            }
            next = packets.recv() => next,
        };
        let Some(packet) = next else { return };
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let now = Instant::now();
        let length = packet.bytes.len() as u64;
        let waits = free.saturating_duration_since(now);
        let full =
            waits.as_nanos() > u128::from(path.queue) * 1_000_000_000 / u128::from(path.rate);
        if full || (random >> 33) % 1_000 < path.loss {
            continue;
        }
        free = free.max(now) + Duration::from_nanos(length * 1_000_000_000 / path.rate);
        flying.push_back((free + path.delay, packet));
    }
}
