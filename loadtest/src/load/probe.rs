//! Small requests at a fixed pace, each timed from when it was due: one that had to wait because
//! those before it were slow counts with all of its wait ("coordinated omission").

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::client::Client;
use super::endpoint::Endpoint;
use super::latency::Latency;

/// Requests a second.
const RATE: u32 = 200;

/// Connections that they are spread over: one that stalls does not delay the others.
const CONNECTIONS: usize = 16;

/// Requests that may wait for a connection.
const QUEUE: usize = 4096;

/// What became of a probe's requests.
#[derive(Debug)]
pub(crate) struct Probed {
    /// From due time to the answer's last byte.
    pub(crate) latency: Latency,
    /// Requests without an answer.
    pub(crate) bad: u64,
}

/// A probe under way, on threads of its own: bulk flows must not delay how it is read.
#[derive(Debug)]
pub(crate) struct Probe(JoinHandle<Result<Probed>>);

impl Probe {
    /// Probes for this long.
    pub(crate) fn start(endpoint: &Endpoint, period: Duration) -> Self {
        let endpoint = endpoint.clone();
        Self(thread::spawn(move || {
            let mut builder = Builder::new_current_thread();
            let runtime = builder.enable_all().build_local(LocalOptions::default())?;
            runtime.block_on(run(endpoint, period))
        }))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it could not be started.
    pub(crate) async fn end(self) -> Result<Probed> {
        while !self.0.is_finished() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.0.join().map_err(|_| anyhow!("the probe has failed"))?
    }
}

struct State {
    endpoint: Endpoint,
    request: Vec<u8>,
    due: Mutex<mpsc::Receiver<Instant>>,
    latency: RefCell<Latency>,
    answered: Cell<u64>,
}

async fn run(endpoint: Endpoint, period: Duration) -> Result<Probed> {
    let (sender, due) = mpsc::channel(QUEUE);
    let request = endpoint.head("GET", "/1k", "");
    let state = Rc::new(State {
        endpoint,
        request,
        due: Mutex::new(due),
        latency: RefCell::new(Latency::new()?),
        answered: Cell::default(),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let state = Rc::clone(&state);
        tasks.spawn_local(async move { state.serve().await });
    }
    let sent = thread::spawn(move || pace(&sender, period));
    let patience = period + Duration::from_secs(5);
    drop(
        timeout(patience, async {
            while tasks.join_next().await.is_some() {}
        })
        .await,
    );
    tasks.shutdown().await;
    let sent = sent.join().map_err(|_| anyhow!("the pacer has failed"))?;
    let latency = state.latency.borrow().clone();
    Ok(Probed {
        latency,
        bad: sent.saturating_sub(state.answered.get()),
    })
}

/// Says when the next request is due, then. A thread's sleep is ten times finer than the
/// runtime's timers.
fn pace(sender: &mpsc::Sender<Instant>, period: Duration) -> u64 {
    let begun = Instant::now();
    let mut sent = 0;
    for n in 0..u32::MAX {
        let at = Duration::from_secs(1) * n / RATE;
        if at >= period {
            break;
        }
        let due = begun + at;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        sent += 1;
        if sender.try_send(due).is_err() {
            continue; // nobody has taken the last thousands: it is lost, and counts as such
        }
    }
    sent
}

impl State {
    async fn serve(&self) {
        let mut client = Client::connect(&self.endpoint).await.ok();
        loop {
            let due = self.due.lock().await.recv().await;
            let Some(due) = due else { return };
            if client.is_none() {
                client = Client::connect(&self.endpoint).await.ok();
            }
            let Some(mut connected) = client.take() else {
                continue;
            };
            if connected.ask(&self.request).await.is_ok() {
                self.latency.borrow_mut().record(due.elapsed());
                self.answered.set(self.answered.get() + 1);
                client = Some(connected);
            }
        }
    }
}
