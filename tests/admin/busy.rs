//! Probes beside a data plane that has all the processor time it can get.

use crate::{
    client::get,
    common::{gateway::Gateway, process::Process},
    fixture::{Form, Tunnel, demo},
    origin::Origin,
};
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::io::AsyncReadExt;

/// Probes of one measurement.
const PROBES: usize = 200;

/// How many times an idle program's time a busy one may take, and what may come on top of it.
///
/// The admin thread does not wait for the data's threads; it waits for a processor, as any thread
/// does. On two of them with a dozen busy threads that is up to some turns of the scheduler, a few
/// milliseconds each, and whatever else the machine does comes on top. A probe that stood in line
/// behind data would wait for as long as there is data: seconds.
const FACTOR: u32 = 50;
const SLACK: Duration = Duration::from_millis(500);

/// Half of the probes were faster than the first, all but the slowest hundredth than the second.
async fn measure(at: SocketAddr) -> (Duration, Duration) {
    let mut times = Vec::new();
    for _ in 0..PROBES {
        let began = Instant::now();
        assert_eq!(get(at, "/readyz").await.status(), 200);
        times.push(began.elapsed());
    }
    times.sort();
    (times[PROBES / 2], times[PROBES * 99 / 100])
}

/// Processor time of a program's threads so far, by name, in hundredths of a second.
fn used(process: &Process) -> BTreeMap<String, u64> {
    let mut used = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{}/task", process.pid())).unwrap() {
        let Ok(stat) = fs::read_to_string(task.unwrap().path().join("stat")) else {
            continue;
        };
        let (name, rest) = stat.rsplit_once(") ").unwrap();
        let name = name.split_once('(').unwrap().1.to_owned();
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks: u64 = [fields[11], fields[12]]
            .iter()
            .map(|t| t.parse::<u64>().unwrap())
            .sum();
        *used.entry(name).or_default() += ticks;
    }
    used
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_while_every_data_thread_is_busy() {
    let origin = Origin::answering(|_, _| {
        let body = vec![b'x'; 8 * 1024 * 1024];
        crate::wire::response("200 OK", "", body)
    })
    .await;
    let gateway = Gateway::start_with(|config| config["threads"] = json!(2));
    let mut tunnel = Tunnel::own(gateway, &[demo(&origin)]);
    let faces = [tunnel.agent.face().admin, tunnel.own_gateway().face().admin];
    let mut idle = Vec::new();
    for at in faces {
        idle.push(measure(at).await);
    }
    let request = tunnel.get("/");
    let mut loads = Vec::new();
    // The kernel spreads them over the workers; with as many, none is left out.
    for _ in 0..16 {
        let mut client = tunnel.connect(Form::Host).await;
        let request = request.clone();
        loads.push(tokio::spawn(async move {
            let mut buffer = vec![0; 256 * 1024];
            loop {
                client.send(&request).await;
                let mut left: usize = 8 * 1024 * 1024;
                while left > 0 {
                    left = left.saturating_sub(client.io.read(&mut buffer).await.unwrap());
                }
            }
        }));
    }
    let programs = [&tunnel.agent.process, &tunnel.gateway.process];
    let before = programs.map(used);
    let mut busy = Vec::new();
    for at in faces {
        busy.push(measure(at).await);
    }
    // On a fast machine the probes are over before anybody was busy for long.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for at in faces {
        busy.push(measure(at).await);
    }
    let after = programs.map(used);
    for (n, threads) in [vec!["agent"], vec!["worker-0", "worker-1"]]
        .iter()
        .enumerate()
    {
        for thread in threads {
            let ticks = after[n][*thread] - before[n][*thread];
            assert!(
                ticks >= 5,
                "{thread} was busy for {ticks} hundredths of a second"
            );
        }
    }
    for (n, (median, slow)) in busy.iter().enumerate() {
        let (idle_median, idle_slow) = idle[n % 2];
        let shown = format!("idle {:?}, busy {:?}", idle[n % 2], busy[n]);
        assert!(*median <= idle_median * FACTOR + SLACK, "{shown}");
        assert!(*slow <= idle_slow * FACTOR + 2 * SLACK, "{shown}");
    }
    for load in loads {
        load.abort();
    }
}
