//! The thread that works in the cluster: reports what is there, and has done what the platform asks for.
//!
//! It has a runtime and clients of the cluster's API of its own: a list of 100,000 pods or a credential plugin that
//! blocks keeps no request waiting that goes through the tunnel. The control channel hands it commands and its own
//! sending end, and asks it for the figures of heartbeats.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::commands::{Dispatcher, Order};
use super::config::AgentConfig;
use super::reports::{self, Link, Meters, Usage};
use crate::config::Live;
use crate::process;
use crate::wire::control::Message;

/// Commands, and what is said about them, that may wait; more are refused.
const ORDERS: usize = 256;

/// The thread, as others see it. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Controller {
    links: watch::Sender<Option<Link>>,
    orders: mpsc::Sender<Order>,
    usage: watch::Receiver<Usage>,
    running: watch::Receiver<usize>,
}

/// Orders wait already, as many as may.
#[derive(Debug, thiserror::Error)]
#[error("too many commands wait for the agent's controller: try again in a moment")]
pub(super) struct Busy;

impl Controller {
    /// Starts it. Commands are given up when the agent begins to drain.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(
        live: &Live<AgentConfig>,
        meters: Arc<Meters>,
        draining: CancellationToken,
    ) -> io::Result<Self> {
        let (links, link) = watch::channel(None);
        let (orders, inbox) = mpsc::channel(ORDERS);
        let (usage_sender, usage) = watch::channel(Usage::default());
        let (running_sender, running) = watch::channel(0);
        let live = live.clone();
        let work = async move || {
            let config = live.get();
            let kubernetes = config.kubernetes.clone();
            let namespace = config.agent.namespace.clone();
            let dispatcher = Dispatcher::new(live, link.clone(), running_sender, draining);
            let reports = async {
                if kubernetes.enabled {
                    match reports::run(kubernetes, namespace, usage_sender, link, meters).await {}
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = dispatcher.run(inbox) => {}
                () = reports => {}
            }
        };
        // A runtime of one thread is made where it runs.
        let run = move || match process::data_runtime() {
            Ok(runtime) => runtime.block_on(work()),
            Err(error) => {
                tracing::error!(%error, "the controller has no runtime; nothing is reported or carried out")
            }
        };
        thread::Builder::new()
            .name("controller".to_owned())
            .spawn(run)?;
        Ok(Self {
            links,
            orders,
            usage,
            running,
        })
    }

    /// A control channel is up: reports and results leave on it from now on.
    pub(super) fn connected(&self, link: Link) {
        self.links.send_replace(Some(link));
    }

    /// Hands over a command, or something that is said about one.
    ///
    /// # Errors
    /// [`Busy`]; it was not taken.
    pub(super) fn deliver(&self, id: String, message: Message) -> Result<(), Busy> {
        self.orders
            .try_send(Order { id, message })
            .map_err(|_| Busy)
    }

    /// The figures for a heartbeat.
    pub(super) fn usage(&self) -> Usage {
        self.usage.borrow().clone()
    }

    /// Resolves when no command runs.
    pub(super) async fn idle(&self) {
        // An error says that the thread has ended.
        drop(self.running.clone().wait_for(|running| *running == 0).await);
    }
}
