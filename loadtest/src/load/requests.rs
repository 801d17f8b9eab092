//! Requests one after the other on each of some connections: how many go through.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::client::Client;
use super::endpoint::Endpoint;
use super::latency::Latency;

/// What became of the requests.
#[derive(Debug)]
pub(crate) struct Answers {
    /// From a request's first byte to its answer's last. Each request waits for the one before it,
    /// so that this is a service time, and no waiting time of users.
    pub(crate) latency: Latency,
    /// Requests that failed.
    pub(crate) bad: u64,
    /// Why the first of them.
    pub(crate) failure: Option<String>,
}

struct Loop {
    endpoint: Endpoint,
    until: Instant,
    latency: RefCell<Latency>,
    bad: Cell<u64>,
    failure: RefCell<Option<String>>,
}

/// Asks on `connections` connections for this long; each is used for all of its requests, or with
/// `anew` for one.
///
/// # Errors
/// When not one request succeeds.
pub(crate) async fn run(
    endpoint: &Endpoint,
    connections: usize,
    anew: bool,
    period: Duration,
) -> Result<Answers> {
    let state = Rc::new(Loop {
        endpoint: endpoint.clone(),
        until: Instant::now() + period,
        latency: RefCell::new(Latency::new()?),
        bad: Cell::default(),
        failure: RefCell::default(),
    });
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let state = Rc::clone(&state);
        tasks.spawn_local(async move {
            while Instant::now() < state.until {
                let asked = if anew {
                    state.once().await
                } else {
                    state.again().await
                };
                if let Err(error) = asked {
                    state.bad.set(state.bad.get() + 1);
                    state
                        .failure
                        .borrow_mut()
                        .get_or_insert(format!("{error:#}"));
                    // One that refuses everything must not be asked as fast as we can.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }
    // A request under way at the end is waited for a little, and then counts as failed.
    let late = state.until + Duration::from_secs(5);
    while let Ok(Some(_)) = timeout_at(late, tasks.join_next()).await {}
    let lost = tasks.len() as u64;
    tasks.shutdown().await;
    let failure = state.failure.take();
    let answers = Answers {
        latency: state.latency.borrow().clone(),
        bad: state.bad.get() + lost,
        failure,
    };
    anyhow::ensure!(
        answers.latency.count() > 0,
        "no request was answered: {}",
        answers.failure.as_deref().unwrap_or("no answer in time")
    );
    Ok(answers)
}

impl Loop {
    async fn again(&self) -> Result<()> {
        let request = self.endpoint.head("GET", "/1k", "");
        let mut client = Client::connect(&self.endpoint).await?;
        while Instant::now() < self.until {
            let begun = Instant::now();
            client.ask(&request).await?;
            self.latency.borrow_mut().record(begun.elapsed());
        }
        Ok(())
    }

    async fn once(&self) -> Result<()> {
        let begun = Instant::now();
        let request = self.endpoint.head("GET", "/1k", "Connection: close\r\n");
        let mut client = Client::connect(&self.endpoint).await?;
        client.ask(&request).await?;
        // The other end closes first; some do it by a reset.
        drop(client.connection.read(&mut [0; 1]).await);
        self.latency.borrow_mut().record(begun.elapsed());
        Ok(())
    }
}
