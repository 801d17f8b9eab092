//! What the agent says of its cluster: figures for heartbeats, its status, and what happens in it.
//!
//! Called by the controller, on a runtime of its own beside the data path. `watch` keeps one list each of nodes, pods,
//! services and warnings up to date (`cache`), `core` is what is known, `queue` what waits to be told, `tell` tells it.
//! Everything but `watch`, `session`, `usage` and `tell` does no I/O.
//!
//! It costs 26 MiB in a cluster of 5,000 nodes, 100,000 pods, 10,000 services and 20,000 warnings, 39 MiB while the pods
//! are listed again by pages of 500, and 68 MiB for a while when every pod was replaced by another while the watch was
//! down. `cargo test --lib --all-features agent::reports::memory -- --ignored --nocapture` prints these figures: resident
//! memory, with what the imagined server needs to write its answers.
//!
//! What is told is lost only where the control channel breaks with messages in its queue: events are not acknowledged.

mod cache;
#[cfg(test)]
mod cluster_tests;
mod core;
mod happening;
mod intern;
#[cfg(test)]
mod memory;
mod meters;
mod nodes;
mod pods;
mod quantity;
mod queue;
mod services;
mod session;
mod slim;
mod status;
mod tell;
mod usage;
mod warnings;
mod watch;

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::{mpsc, watch as latest};
use tokio::time::Instant;

use self::core::{Core, Kept, News};
use super::config::KubernetesConfig;
use crate::wire::control::Message;
pub(in crate::agent) use meters::Meters;
pub(in crate::agent) use usage::Usage;

/// A control channel that is up.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Link {
    /// What is sent here leaves on it, in order, paced by the outbox. Closed when the channel is gone.
    pub(in crate::agent) outgoing: mpsc::Sender<Message>,
    /// What both sides speak. 2 or more: `event_batch` and `event_summary` are understood.
    pub(in crate::agent) protocol: u32,
}

/// Watches the cluster and reports on it for as long as it is polled. `usage` is told the figures for heartbeats, `link`
/// says whom to report to; none while nobody is connected. `namespace` is the agent's own, where its accounts are.
/// A credential plugin of the kubeconfig may block the thread.
pub(in crate::agent) async fn run(
    config: KubernetesConfig,
    namespace: String,
    usage: latest::Sender<Usage>,
    link: latest::Receiver<Option<Link>>,
    meters: Arc<Meters>,
) -> Infallible {
    let shared = Shared::new(meters);
    let watching = Box::pin(session::watch(&shared, &config, &namespace));
    let telling = tell::tell(&shared, link);
    let (never, (), ()) = tokio::join!(watching, telling, tell::figures(&shared, &usage));
    never
}

/// What the futures of one thread have in common. Never borrowed across a wait.
#[derive(Debug)]
struct Shared {
    core: RefCell<Core>,
}

impl Shared {
    fn new(meters: Arc<Meters>) -> Self {
        Self {
            core: RefCell::new(Core::new(meters)),
        }
    }

    fn learn<C: Kept>(&self, news: News<C::Object>) {
        self.core.borrow_mut().learn::<C>(news, Instant::now());
    }
}
