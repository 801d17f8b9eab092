//! Many bodies at once, as fast as they go or standing still.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::client::Client;
use super::endpoint::Endpoint;
use super::pattern::{PIECE, Pattern};

/// Connections that are opened at once: more would be refused by a listener's queue.
const AT_ONCE: usize = 128;

/// What a flow does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Reads a body without end.
    Down,
    /// Writes one.
    Up,
    /// Asks for a body without end, reads its head, and stops.
    Stall,
    /// Holds a response of which one byte has come and no more will.
    Hold,
}

/// Flows that run until this is dropped.
#[derive(Debug)]
pub(crate) struct Flows {
    tasks: JoinSet<()>,
    all: Vec<Rc<Flow>>,
}

#[derive(Debug, Default)]
struct Flow {
    bytes: Cell<u64>,
    started: Cell<bool>,
    failed: RefCell<Option<String>>,
}

impl Flows {
    /// Starts `count` flows, and waits until each has begun or failed, up to `patience`.
    pub(crate) async fn start(
        endpoint: &Endpoint,
        way: Way,
        count: usize,
        patience: Duration,
    ) -> Self {
        let mut flows = Self {
            tasks: JoinSet::new(),
            all: Vec::new(),
        };
        let buffer = Rc::new(RefCell::new(vec![0; PIECE]));
        let pattern = Rc::new(Pattern::new());
        let end = Instant::now() + patience;
        while flows.all.len() < count && Instant::now() < end {
            for _ in 0..AT_ONCE.min(count - flows.all.len()) {
                flows.add(endpoint, way, &buffer, &pattern);
            }
            while !flows.settled() && Instant::now() < end {
                sleep(Duration::from_millis(2)).await;
            }
        }
        flows
    }

    fn add(&mut self, endpoint: &Endpoint, way: Way, buffer: &Buffer, pattern: &Rc<Pattern>) {
        let flow = Rc::new(Flow::default());
        self.all.push(Rc::clone(&flow));
        let (endpoint, buffer, pattern) = (endpoint.clone(), Rc::clone(buffer), Rc::clone(pattern));
        self.tasks.spawn_local(async move {
            let ended = match way {
                Way::Down => down(&endpoint, &flow, &buffer).await,
                Way::Up => up(&endpoint, &flow, &pattern).await,
                Way::Stall => still(&endpoint, "/bulk", &flow).await,
                Way::Hold => still(&endpoint, "/hold", &flow).await,
            };
            *flow.failed.borrow_mut() = ended.err().map(|error| format!("{error:#}"));
        });
    }

    fn settled(&self) -> bool {
        let settled = |flow: &Rc<Flow>| flow.started.get() || flow.failed.borrow().is_some();
        self.all.iter().rev().take(AT_ONCE).all(settled)
    }

    /// Bytes of each flow so far.
    pub(crate) fn bytes(&self) -> Vec<u64> {
        self.all.iter().map(|flow| flow.bytes.get()).collect()
    }

    /// Flows that have begun and not failed.
    pub(crate) fn live(&self) -> usize {
        let live = |flow: &&Rc<Flow>| flow.started.get() && flow.failed.borrow().is_none();
        self.all.iter().filter(live).count()
    }

    /// What the first flow that failed said.
    pub(crate) fn failure(&self) -> Option<String> {
        self.all
            .iter()
            .find_map(|flow| flow.failed.borrow().clone())
    }

    /// Fails unless all of them run.
    ///
    /// # Errors
    /// How many do not, and why the first of them.
    pub(crate) fn check(&self, wanted: usize) -> Result<()> {
        let live = self.live();
        if live < wanted {
            let why = self
                .failure()
                .unwrap_or_else(|| "no answer in time".to_owned());
            bail!("{} of {wanted} flows do not run: {why}", wanted - live);
        }
        Ok(())
    }
}

type Buffer = Rc<RefCell<Vec<u8>>>;

async fn down(endpoint: &Endpoint, flow: &Flow, buffer: &Buffer) -> Result<()> {
    let mut client = Client::connect(endpoint).await?;
    client.begin(&endpoint.head("GET", "/bulk", "")).await?;
    flow.started.set(true);
    loop {
        let read = poll_fn(|cx| {
            let mut buffer = buffer.borrow_mut();
            let mut buffer = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut client.connection).poll_read(cx, &mut buffer);
            polled.map_ok(|()| buffer.filled().len())
        });
        match read.await? {
            0 => bail!("the download has ended"),
            read => flow.bytes.set(flow.bytes.get() + read as u64),
        }
    }
}

async fn up(endpoint: &Endpoint, flow: &Flow, pattern: &Pattern) -> Result<()> {
    let mut connection = endpoint.connect().await?;
    let length = format!("Content-Length: {}\r\n", 1_u64 << 40);
    connection
        .write_all(&endpoint.head("PUT", "/up", &length))
        .await?;
    flow.started.set(true);
    loop {
        let written = connection.write(pattern.at(0, flow.bytes.get())).await?;
        flow.bytes.set(flow.bytes.get() + written as u64);
    }
}

/// Gets a head, and then does nothing until the flow is dropped.
async fn still(endpoint: &Endpoint, path: &str, flow: &Flow) -> Result<()> {
    let mut client = Client::connect(endpoint).await?;
    client.begin(&endpoint.head("GET", path, "")).await?;
    flow.started.set(true);
    let connection = client.into_connection();
    std::future::pending::<()>().await;
    drop(connection);
    Ok(())
}
