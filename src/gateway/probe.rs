//! Probes: `pipeops-agent doctor` goes all the way that an agent goes, and serves nobody.
//!
//! A probe is authenticated as an agent is, and never enters the table of agents: no request can
//! reach it, and no agent stands by for it. It lives for [`PROBE_LIFETIME`] at most.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join;
use http::{HeaderMap, Method, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::carrier::Begun;
use super::control::{Channel, Peer, Reason};
use super::directory::Grant;
use super::store::ClusterRecord;
use super::tickets::{AgentKey, Purpose};
use super::worker::Worker;
use crate::http::exchange;
use crate::mux::Session;
use crate::wire::control::{Message, OpenCarrier};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::frame::Frame;
use crate::wire::head::{Identity, RequestHead};
use crate::wire::limits::{MAX_PROBES_PER_CLUSTER, PROBE_LIFETIME};

/// The probes that are under way.
#[derive(Debug, Default)]
pub(super) struct Probes(Arc<Mutex<HashMap<String, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    cluster: String,
    probes: Arc<Mutex<HashMap<String, usize>>>,
}

impl Probes {
    /// Begins one.
    ///
    /// # Errors
    /// 429 while there are [`MAX_PROBES_PER_CLUSTER`] of this cluster.
    pub(super) fn begin(&self, cluster: &str) -> Result<Permit, ApiError> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = running.entry(cluster.to_owned()).or_default();
        if *count >= MAX_PROBES_PER_CLUSTER {
            return Err(ApiError::new(
                ErrorCode::TooManyRequests,
                format!(
                    "{MAX_PROBES_PER_CLUSTER} probes of this cluster are under way; try again in {} s",
                    PROBE_LIFETIME.as_secs()
                ),
            ));
        }
        *count += 1;
        Ok(Permit {
            cluster: cluster.to_owned(),
            probes: Arc::clone(&self.0),
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = running.entry(std::mem::take(&mut self.cluster)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// A probe that was let in.
pub(super) struct Probe {
    pub(super) permit: Permit,
    pub(super) grant: Arc<Grant>,
    pub(super) cluster: Arc<ClusterRecord>,
    pub(super) peer: Peer,
}

impl Probe {
    /// Runs the probe's control channel until the doctor leaves.
    pub(super) async fn run(self, worker: Rc<Worker>, upgrade: OnUpgrade) {
        let opened = Channel::open(&worker, &self.cluster, &self.peer, upgrade).await;
        let Some(mut channel) = opened else {
            return;
        };
        let key = channel.key.clone();
        let served = timeout(PROBE_LIFETIME, self.serve(&mut channel)).await;
        let reason = match served {
            Ok(Ok(never)) => match never {},
            Ok(Err(reason)) => reason,
            Err(_) => "it took too long",
        };
        // Where the doctor has gone there is nobody to tell.
        channel.close(CloseCode::Normal, reason).await.ok();
        worker.shared.tickets.forget(&key);
        tracing::info!(
            cluster = key.cluster, generation = key.generation, token_id = %self.grant.token_id,
            reason, "a doctor has probed; it served nothing"
        );
        drop(self.permit);
    }

    async fn serve(&self, channel: &mut Channel) -> Result<Infallible, Reason> {
        let welcome = channel.welcome(&self.cluster, true);
        channel.send(welcome).await?;
        let worker = Rc::clone(&channel.worker);
        let tickets = &worker.shared.tickets;
        for kind in tickets.kinds() {
            let issued = tickets.issue(&channel.key, worker.index, Purpose::Probe, None);
            if let Some(open) = issued {
                let kinds = vec![kind.to_string()];
                let open = OpenCarrier { kinds, ..open };
                channel.send(Message::OpenCarrier(open)).await?;
            }
        }
        loop {
            let Channel { intake, socket, .. } = channel;
            tokio::select! {
                () = self.grant.ended.cancelled() => return Err("token revoked or expired"),
                () = worker.shared.drain.cancelled() => return Err("gateway shuts down"),
                message = intake.next(socket) => match message {
                    None | Some(Err(_) | Ok(WsMessage::Close(_))) => return Err("closed by the doctor"),
                    // What it says is not acted on.
                    Some(Ok(_)) => {}
                }
            }
        }
    }
}

/// A probe's carrier: one exchange, which proves both directions, and the end.
pub(super) async fn carry(key: &AgentKey, begun: Begun) {
    let Begun {
        kind,
        session,
        driver,
        ..
    } = begun;
    let exchange = async {
        let answered = ask(&session).await;
        session.close();
        answered
    };
    let outcome = match timeout(PROBE_LIFETIME, join(driver, exchange)).await {
        Ok((_, Ok(()))) => "answered".to_owned(),
        Ok((_, Err(error))) => error,
        Err(_) => "it took too long".to_owned(),
    };
    tracing::info!(
        cluster = key.cluster,
        generation = key.generation,
        %kind,
        outcome,
        "a doctor has probed a carrier"
    );
}

/// Sends a request that no user made, and waits for its answer.
async fn ask(session: &Session) -> Result<(), String> {
    let stream = session.open().await.map_err(|error| error.to_string())?;
    let (mut sender, mut receiver) = exchange::split(stream);
    let request = RequestHead {
        method: Method::GET,
        service: "doctor".to_owned(),
        target: "/".to_owned(),
        prefix: String::new(),
        host: String::new(),
        identity: Identity::default(),
        request_id: String::new(),
        upgrade: None,
        end: true,
        headers: HeaderMap::new(),
    };
    let asked = async {
        sender.send(&Frame::Request(Box::new(request))).await?;
        receiver.next().await
    };
    match asked.await {
        Ok(Some(Frame::Response(head))) if head.status == StatusCode::NO_CONTENT => Ok(()),
        Ok(_) => Err("it answers something else than a doctor would".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_probes_of_one_cluster_run_at_once_and_none_is_kept_in_mind() {
        let probes = Probes::default();
        let held: Vec<_> = (0..MAX_PROBES_PER_CLUSTER)
            .map(|_| probes.begin("a").unwrap())
            .collect();
        assert_eq!(
            probes.begin("a").unwrap_err().code,
            ErrorCode::TooManyRequests
        );
        probes.begin("b").unwrap();
        drop(held);
        assert!(probes.0.lock().unwrap().is_empty());
        probes.begin("a").unwrap();
    }
}
