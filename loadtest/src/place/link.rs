//! A link between two network namespaces that this program carries packet by packet: with a rate,
//! a delay, a queue, and losses. TCP and UDP meet it as they would meet a real one.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::time::Instant;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::Shape;
use crate::system::process::{Nursery, Process};

/// The gateway's end of the link.
pub(super) const GATEWAY: &str = "10.77.0.1";
const AGENT: &str = "10.77.0.2";
const MTU: u16 = 1500;

/// Bytes that may wait for the link, as seconds of its rate: a router's buffer of middling size.
const QUEUE: f64 = 0.05;

/// Packets under way at most, whatever the rate and the delay.
const UNDER_WAY: usize = 65_536;

/// Two namespaces and the packets between them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    shape: Shape,
    agent: PathBuf,
    _holders: [Process; 2],
}

impl Link {
    /// Makes the namespaces, moves the calling thread into the gateway's, and carries packets.
    ///
    /// # Errors
    /// When this machine does not let us; it needs root, `unshare`, `nsenter`, `ip` and `/dev/net/tun`.
    pub(crate) fn new(nursery: &Nursery, shape: Shape) -> Result<Self> {
        let folder = nursery.folder("link")?;
        let hold = |name: &str| {
            let mut command = Command::new("unshare");
            command.args(["--net", "sleep", "infinity"]);
            nursery.spawn(name, &mut command, &folder)
        };
        let mut holders = [hold("gateway-side")?, hold("agent-side")?];
        let mut ends = Vec::new();
        for (holder, address) in holders.iter_mut().zip([GATEWAY, AGENT]).rev() {
            ends.push(Arc::new(end_of_link(holder, address)?));
        }
        let (agent, gateway) = match ends.as_slice() {
            [agent, gateway] => (Arc::clone(agent), Arc::clone(gateway)),
            _ => bail!("a link has two ends"),
        };
        carry(Arc::clone(&agent), Arc::clone(&gateway), shape, 1);
        carry(gateway, agent, shape, 2);
        Ok(Self {
            shape,
            agent: namespace(&holders[1]),
            _holders: holders,
        })
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    pub(super) fn agent_command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.agent.display()))
            .arg(program);
        command
    }
}

fn namespace(holder: &Process) -> PathBuf {
    PathBuf::from(format!("/proc/{}/ns/net", holder.pid()))
}

/// Moves this thread into the holder's namespace, and makes the link's end there.
fn end_of_link(holder: &mut Process, address: &str) -> Result<SyncDevice> {
    let path = namespace(holder);
    let ours = fs::read_link("/proc/self/ns/net")?;
    let end = Instant::now() + Duration::from_secs(5);
    while fs::read_link(&path).is_ok_and(|theirs| theirs == ours) {
        holder
            .check()
            .context("no network namespace can be made here")?;
        ensure!(Instant::now() < end, "no network namespace came about");
        thread::sleep(Duration::from_millis(5));
    }
    let file = File::open(&path).with_context(|| path.display().to_string())?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    let device = DeviceBuilder::new().name("link0").mtu(MTU).build_sync();
    let device = device.context("no TUN device can be made here")?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["addr", "add", &format!("{address}/24"), "dev", "link0"])?;
    ip(&["link", "set", "link0", "up"])?;
    Ok(device)
}

fn ip(arguments: &[&str]) -> Result<()> {
    let out = Command::new("ip").args(arguments).output().context("ip")?;
    ensure!(
        out.status.success(),
        "ip {arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

/// A packet, and when it arrives.
type Packet = (Instant, Vec<u8>);

fn carry(from: Arc<SyncDevice>, to: Arc<SyncDevice>, shape: Shape, seed: u64) {
    let (sender, receiver) = sync_channel(UNDER_WAY);
    thread::spawn(move || take(&from, &sender, &mut Way::new(shape, seed)));
    thread::spawn(move || deliver(&to, &receiver));
}

fn take(from: &SyncDevice, sender: &SyncSender<Packet>, way: &mut Way) {
    let mut buffer = vec![0; usize::from(MTU) + 64];
    while let Ok(length) = from.recv(&mut buffer) {
        let Some(arrives) = way.accept(Instant::now(), length) else {
            continue;
        };
        let packet = buffer.get(..length).unwrap_or_default().to_vec();
        if sender.send((arrives, packet)).is_err() {
            return;
        }
    }
}

fn deliver(to: &SyncDevice, receiver: &Receiver<Packet>) {
    while let Ok((arrives, packet)) = receiver.recv() {
        thread::sleep(arrives.saturating_duration_since(Instant::now()));
        // A namespace that is going away takes no more.
        drop(to.send(&packet));
    }
}

/// One direction: when what was sent arrives, and what does not.
#[derive(Debug)]
struct Way {
    shape: Shape,
    /// When the last packet has left.
    free: Option<Instant>,
    random: u64,
}

impl Way {
    fn new(shape: Shape, seed: u64) -> Self {
        Self {
            shape,
            free: None,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        }
    }

    /// When a packet of this length arrives; `None` when the queue is full, or it is lost.
    fn accept(&mut self, now: Instant, length: usize) -> Option<Instant> {
        let free = self.free.map_or(now, |free| free.max(now));
        if (free - now).as_secs_f64() > QUEUE {
            return None;
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let free = free + Duration::from_secs_f64(f64::from(length) / self.shape.rate);
        self.free = Some(free);
        if self.chance() < self.shape.loss {
            return None;
        }
        Some(free + Duration::from_secs_f64(self.shape.rtt / 2.0))
    }

    /// Between 0 and 1; the same row of numbers in each run.
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        f64::from(u32::try_from(self.random >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(loss: f64) -> Way {
        Way::new(
            Shape {
                rtt: 0.1,
                rate: 1e6,
                loss,
            },
            1,
        )
    }

    #[test]
    fn packets_leave_one_after_the_other_and_arrive_half_a_round_trip_later() {
        let (mut way, now) = (way(0.0), Instant::now());
        for n in 1..=10 {
            let arrives = way.accept(now, 1000).unwrap();
            let wanted = now + Duration::from_millis(n + 50);
            assert!(arrives.max(wanted) - arrives.min(wanted) < Duration::from_micros(10));
        }
    }

    #[test]
    fn a_full_queue_drops_and_empties_with_time() {
        let (mut way, now) = (way(0.0), Instant::now());
        let taken = (0..200).filter_map(|_| way.accept(now, 1000)).count();
        assert_eq!(taken, 51, "50 ms at 1 MB/s, and the one that leaves");
        assert!(way.accept(now + Duration::from_millis(30), 1000).is_some());
    }

    #[test]
    fn the_share_that_is_lost_is_what_was_asked_for() {
        let (mut way, mut now) = (way(0.01), Instant::now());
        let mut lost = 0;
        for _ in 0..100_000 {
            now += Duration::from_millis(1);
            lost += u32::from(way.accept(now, 1000).is_none());
        }
        assert!((800..1200).contains(&lost), "{lost}");
    }
}
