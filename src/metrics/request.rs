//! One request as it is counted.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::IntCounter;
use tokio::time::Instant;

use super::label::{Direction, Dropped, Outcome};
use super::service::Service;
use super::traffic::Traffic;
use super::tunnel::Tunnel;
use crate::wire::error::ErrorCode;

/// Counts the bytes of one direction, for the request and, once that is known, for its service.
/// Clones count into the same figures.
#[derive(Debug, Clone, Default)]
pub struct Meter(Rc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    bytes: Cell<u64>,
    counter: OnceCell<IntCounter>,
    /// The cluster's figure.
    cluster: OnceCell<Arc<AtomicU64>>,
}

impl Meter {
    /// Adds `bytes`.
    pub fn add(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.0.bytes.set(self.0.bytes.get() + bytes);
        if let Some(counter) = self.0.counter.get() {
            counter.inc_by(bytes);
        }
        if let Some(cluster) = self.0.cluster.get() {
            cluster.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The request's own figure so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.bytes.get()
    }

    /// Counts what was counted so far, and all that follows, into `counter` too.
    fn attach(&self, counter: &IntCounter) {
        if self.0.counter.set(counter.clone()).is_ok() {
            counter.inc_by(self.get());
        }
    }
}

/// A request to a service, from its head to its end; counted as ended when dropped.
#[derive(Debug)]
pub struct Request {
    tunnel: Arc<Tunnel>,
    service: OnceCell<Arc<Service>>,
    cluster: OnceCell<Arc<Traffic>>,
    answered: Cell<bool>,
    /// When its head was there.
    pub begun: Instant,
    /// Bytes of its bodies that went into the tunnel.
    pub sent: Meter,
    /// Bytes of its bodies that came out of the tunnel.
    pub received: Meter,
    /// How it ends, as far as is known.
    pub outcome: Outcome,
}

impl Request {
    /// Begins to count a request to the service of that name. A name that no service is known by
    /// gets no series before [`Request::exists`].
    #[must_use]
    pub fn begin(tunnel: &Arc<Tunnel>, service: &str) -> Self {
        tunnel.requests_active.inc();
        let request = Self {
            tunnel: Arc::clone(tunnel),
            service: OnceCell::new(),
            cluster: OnceCell::new(),
            answered: Cell::new(false),
            begun: Instant::now(),
            sent: Meter::default(),
            received: Meter::default(),
            outcome: Outcome::ClientGone,
        };
        if let Some(service) = tunnel.services.known(service) {
            request.attach(service);
        }
        request
    }

    /// Notes to which cluster it goes; to be called once, before any byte does.
    pub fn goes_to(&self, cluster: Arc<Traffic>) {
        let sent = self.sent.0.cluster.set(Arc::clone(&cluster.sent));
        let received = self.received.0.cluster.set(Arc::clone(&cluster.received));
        if sent.is_ok() && received.is_ok() {
            cluster.begun();
            drop(self.cluster.set(cluster));
        }
    }

    /// Notes that the response's head is there, and so that a service has this name.
    pub fn answered(&self, service: &str) {
        self.answered.set(true);
        self.exists(service);
        if let Some(service) = self.service.get() {
            service
                .first_byte
                .observe(self.begun.elapsed().as_secs_f64());
        }
    }

    /// Notes that there is a service of this name.
    pub fn exists(&self, service: &str) {
        if self.service.get().is_none() {
            self.attach(self.tunnel.services.admit(service));
        }
    }

    /// Notes an error of the tunnel's own: the answer, or what breaks the answer off.
    pub fn failed(&mut self, code: ErrorCode) {
        self.tunnel.errors.get(code).inc();
        self.outcome = if self.answered.get() {
            Outcome::Cut
        } else {
            Outcome::Refused
        };
    }

    /// Counts a datagram that was lost on this side.
    pub fn dropped(&self, why: Dropped) {
        self.tunnel.datagrams_dropped.get(why).inc();
    }

    fn attach(&self, service: Arc<Service>) {
        self.sent.attach(service.bytes(Direction::Sent));
        self.received.attach(service.bytes(Direction::Received));
        // Attached once: whoever calls has looked.
        drop(self.service.set(service));
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.service.get().is_none() {
            self.attach(self.tunnel.services.other());
        }
        if let Some(service) = self.service.get() {
            service.outcomes(self.outcome).inc();
        }
        if let Some(cluster) = self.cluster.get() {
            cluster.ended();
        }
        self.tunnel.requests_active.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;

    #[test]
    fn bytes_before_the_answer_count_for_the_service_all_the_same() {
        let mut registry = Registry::new("test");
        let tunnel = Tunnel::new(&mut registry, "any").unwrap();
        let mut request = Request::begin(&tunnel, "demo");
        request.sent.add(10);
        assert!(tunnel.services.known("demo").is_none());
        request.answered("demo");
        request.sent.clone().add(5);
        let demo = tunnel.services.known("demo").unwrap();
        assert_eq!(demo.bytes(Direction::Sent).get(), 15);
        assert_eq!(tunnel.requests_active.get(), 1);
        request.outcome = Outcome::Complete;
        drop(request);
        assert_eq!(demo.outcomes(Outcome::Complete).get(), 1);
        assert_eq!(tunnel.requests_active.get(), 0);
    }

    #[test]
    fn a_cluster_has_figures_of_its_own() {
        let mut registry = Registry::new("test");
        let tunnel = Tunnel::new(&mut registry, "any").unwrap();
        let (request, cluster) = (Request::begin(&tunnel, "demo"), Arc::<Traffic>::default());
        request.goes_to(Arc::clone(&cluster));
        request.sent.clone().add(3);
        request.received.add(4);
        assert_eq!((cluster.sent(), cluster.received()), (3, 4));
        assert_eq!((cluster.requests(), cluster.streams()), (1, 1));
        drop(request);
        assert_eq!((cluster.requests(), cluster.streams()), (1, 0));
    }

    #[test]
    fn a_request_to_nothing_counts_as_other() {
        let mut registry = Registry::new("test");
        let tunnel = Tunnel::new(&mut registry, "any").unwrap();
        let request = Request::begin(&tunnel, "../../etc");
        request.sent.add(7);
        drop(request);
        let other = tunnel.services.other();
        assert_eq!(other.bytes(Direction::Sent).get(), 7);
        assert_eq!(other.outcomes(Outcome::ClientGone).get(), 1);
        assert_eq!(tunnel.services.total(Direction::Sent), 7);
    }
}
