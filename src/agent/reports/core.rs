//! What is known of the cluster, and what waits to be told of it: no I/O.

use tokio::time::Instant;

use super::cache::Cache;
use super::happening::Found;
use std::sync::Arc;

use super::meters::{Meters, Watched};
use super::nodes::Nodes;
use super::pods::Pods;
use super::queue::Queue;
use super::services::Services;
use super::usage::Measured;
use super::warnings::Warnings;
use crate::metrics::Label;

/// How a watch is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing has come of it yet.
    #[default]
    Nothing,
    /// What it shows is how things are.
    All,
    /// It does not work, and why. What was seen before is kept.
    Failing(String),
}

/// How the cluster's API is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Api {
    /// Not asked yet.
    #[default]
    Unknown,
    /// It answers.
    Answers,
    /// There is no way to ask it, and why.
    NoClient(String),
    /// It does not answer, and why.
    Silent(String),
}

/// Everything that is known.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) nodes: Nodes,
    pub(super) pods: Pods,
    pub(super) services: Services,
    pub(super) warnings: Warnings,
    pub(super) queue: Queue,
    pub(super) api: Api,
    /// What the API server runs, as it last said.
    pub(super) version: Option<String>,
    pub(super) measured: Option<Measured>,
    pub(super) meters: Arc<Meters>,
    watches: Vec<Seen>,
}

/// What a watch says.
#[derive(Debug)]
pub(super) enum News<O> {
    /// A list begins.
    Begin,
    /// It is there.
    See(O),
    /// It is gone.
    Gone(O),
    /// The list is complete.
    Complete,
}

/// A cache that is in the core.
pub(super) trait Kept: Cache + Sized {
    /// Where.
    fn of(core: &mut Core) -> &mut Self;
}

macro_rules! kept {
    ($($type:ty: $field:ident,)+) => {
        $(impl Kept for $type {
            fn of(core: &mut Core) -> &mut Self {
                &mut core.$field
            }
        })+
    };
}
kept! { Nodes: nodes, Pods: pods, Services: services, Warnings: warnings, }

impl Core {
    pub(super) fn new(meters: impl Into<Arc<Meters>>) -> Self {
        Self {
            nodes: Nodes::default(),
            pods: Pods::default(),
            services: Services::default(),
            warnings: Warnings::default(),
            queue: Queue::new(),
            api: Api::default(),
            version: None,
            measured: None,
            meters: meters.into(),
            watches: Watched::all().iter().map(|_| Seen::default()).collect(),
        }
    }

    /// Takes in what a watch says.
    pub(super) fn learn<C: Kept>(&mut self, news: News<C::Object>, now: Instant) {
        let mut found = Vec::new();
        let cache = C::of(self);
        match news {
            News::Begin => cache.begin(),
            News::See(object) => cache.see(&object, &mut found),
            News::Gone(object) => cache.gone(&object, &mut found),
            News::Complete => {
                while C::of(self).sweep(&mut found) {
                    self.wait(&mut found, now);
                }
                self.note(C::WATCHED, Seen::All);
            }
        }
        self.wait(&mut found, now);
        let count = i64::try_from(C::of(self).count()).unwrap_or(i64::MAX);
        self.meters.watched.get(C::WATCHED).set(count);
    }

    fn wait(&mut self, found: &mut Vec<Found>, now: Instant) {
        for found in found.drain(..) {
            if let Some((kind, count)) = self.queue.push(found, now) {
                self.meters.left_out.get(kind).inc_by(count);
            }
        }
    }

    /// How a watch is.
    pub(super) fn seen(&self, watched: Watched) -> &Seen {
        &self.watches[watched.index()]
    }

    /// Notes how a watch is, and logs what is new about it.
    pub(super) fn note(&mut self, watched: Watched, seen: Seen) {
        let (what, known) = (watched.text(), &mut self.watches[watched.index()]);
        if *known == seen {
            return;
        }
        match (&seen, &known) {
            (Seen::Failing(reason), _) => {
                tracing::warn!(what, reason, "can not watch the cluster");
            }
            (Seen::All, Seen::Failing(_)) => tracing::info!(what, "the cluster is watched again"),
            _ => tracing::debug!(what, "the cluster is watched"),
        }
        *known = seen;
    }
}
