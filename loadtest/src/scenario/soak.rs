//! Transfers of all sizes for a long time, each byte checked, with a probe beside them: what goes
//! wrong, and what grows.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::meter::Meter;
use super::steady::{GIB, MIB};
use crate::load::client::Client;
use crate::load::endpoint::Endpoint;
use crate::load::pattern::{PIECE, Pattern};
use crate::load::probe::Probe;
use crate::report::sample::{Outcome, count};
use crate::report::stats::slope;
use crate::subject::Running;
use crate::system::usage::descriptors;
use crate::world::World;

/// Transfers at once.
const AT_ONCE: u64 = 8;

/// The largest has 2^this bytes.
const LARGEST: u32 = 26;

/// One transfer takes no longer.
const TRANSFER: Duration = Duration::from_secs(60);

struct Soak {
    endpoint: Endpoint,
    pattern: Pattern,
    until: Instant,
    bytes: Cell<u64>,
    transfers: Cell<u64>,
    broken: Cell<u64>,
    failure: Cell<Option<String>>,
}

pub(super) async fn run(
    world: &World,
    subject: &Running,
    period: Duration,
    out: &mut Outcome,
) -> Result<()> {
    let soak = Rc::new(Soak {
        endpoint: subject.endpoint.clone(),
        pattern: Pattern::new(),
        until: Instant::now() + period,
        bytes: Cell::default(),
        transfers: Cell::default(),
        broken: Cell::default(),
        failure: Cell::default(),
    });
    let meter = Meter::start()?;
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let soak = Rc::clone(&soak);
        tasks.spawn_local(async move { soak.transfer_on(task).await });
    }
    let probe = Probe::start(&subject.endpoint, period);
    let watched = watch(subject, soak.until).await?;
    let probed = probe.end().await?;
    drop(
        timeout(TRANSFER, async {
            while tasks.join_next().await.is_some() {}
        })
        .await,
    );
    tasks.shutdown().await;
    let spent = meter.stop(world, subject, out)?;
    let bytes = count(soak.bytes.get());
    out.set("GiB", bytes / GIB);
    out.set("MiB/s", bytes / MIB / spent.seconds);
    out.set("transfers", count(soak.transfers.get()));
    out.set("broken", count(soak.broken.get()));
    out.latency(&probed.latency, "probe ");
    out.set("probe bad", count(probed.bad));
    out.note(soak.failure.take());
    spent.per(bytes / GIB, 1.0, "s/GiB", out);
    for (name, unit, points) in watched {
        let last = points.last().map_or(0.0, |point| point.1);
        out.set(&format!("{name} {unit}"), last);
        // The first half warms up.
        let settled = points.get(points.len() / 2..).unwrap_or_default();
        out.set(&format!("{name} {unit}/h"), slope(settled) * 3600.0);
        out.series(&format!("{name} {unit}"), points);
    }
    Ok(())
}

/// A name, a unit, and what it was over the seconds.
type Watched = (&'static str, &'static str, Vec<(f64, f64)>);

/// Looks at both sides once a second.
async fn watch(subject: &Running, until: Instant) -> Result<Vec<Watched>> {
    let begun = Instant::now();
    let mut watched: Vec<Watched> = [
        ("server", "MiB"),
        ("agent", "MiB"),
        ("server", "files"),
        ("agent", "files"),
    ]
    .map(|(a, b)| (a, b, Vec::new()))
    .into();
    let files =
        |pids: &[u32]| count(pids.iter().map(|pid| descriptors(*pid)).sum::<usize>() as u64);
    while Instant::now() < until {
        sleep(Duration::from_secs(1)).await;
        let (server, agent) = subject.rss()?;
        let now = [server, agent, files(&subject.server), files(&subject.agent)];
        for ((_, _, points), value) in watched.iter_mut().zip(now) {
            points.push((begun.elapsed().as_secs_f64(), value));
        }
    }
    Ok(watched)
}

impl Soak {
    async fn transfer_on(&self, task: u64) {
        let mut random = (task + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        while Instant::now() < self.until {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // As many small ones as large ones.
            let size = (random >> 8) & ((1 << (random % u64::from(LARGEST + 1))) - 1);
            let done = match random & (1 << 60) {
                0 => timeout(TRANSFER, self.download(random >> 40, size)).await,
                _ => timeout(TRANSFER, self.upload(random >> 40, size)).await,
            };
            self.transfers.set(self.transfers.get() + 1);
            match done.context("takes too long").flatten() {
                Ok(()) => self.bytes.set(self.bytes.get() + size),
                Err(error) => {
                    self.broken.set(self.broken.get() + 1);
                    let first = self.failure.take();
                    self.failure
                        .set(first.or(Some(format!("{size} bytes: {error:#}"))));
                    sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    async fn download(&self, seed: u64, size: u64) -> Result<()> {
        let mut client = Client::connect(&self.endpoint).await?;
        let path = format!("/bulk?bytes={size}&seed={seed}");
        let head = client.begin(&self.endpoint.head("GET", &path, "")).await?;
        ensure!(head.length == size, "{} bytes are announced", head.length);
        ensure!(
            self.pattern.holds(seed, 0, client.early(&head)),
            "other bytes than were sent"
        );
        let mut got = client.early(&head).len() as u64;
        let mut buffer = vec![0; PIECE];
        while got < size {
            let read = client.connection.read(&mut buffer).await?;
            let bytes = buffer.get(..read).unwrap_or_default();
            if read == 0 {
                bail!("cut after {got} bytes");
            }
            ensure!(
                self.pattern.holds(seed, got, bytes),
                "other bytes than were sent, behind {got}"
            );
            got += read as u64;
        }
        Ok(())
    }

    async fn upload(&self, seed: u64, size: u64) -> Result<()> {
        let mut client = Client::connect(&self.endpoint).await?;
        let length = format!("Content-Length: {size}\r\n");
        let head = self
            .endpoint
            .head("PUT", &format!("/up?seed={seed}"), &length);
        client.connection.write_all(&head).await?;
        let mut sent = 0;
        while sent < size {
            let most = usize::try_from(size - sent).unwrap_or(PIECE).min(PIECE);
            let piece = self.pattern.at(seed, sent).get(..most).unwrap_or_default();
            client.connection.write_all(piece).await?;
            sent += most as u64;
        }
        client.connection.flush().await?;
        client.head().await?;
        Ok(())
    }
}
