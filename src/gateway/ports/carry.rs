//! One connection, or one sender's datagrams, by a fixed port.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::gateway::config::PortConfig;
use crate::gateway::proxy;
use crate::gateway::random_id;
use crate::gateway::record::Record;
use crate::gateway::worker::Worker;
use crate::http::exchange::{Receiver, Sender};
use crate::metrics::Request;
use crate::relay::{Datagrams, Flow, abort, relay, tune_end};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::head::{Identity, RequestHead};
use crate::wire::limits::HALF_CLOSED_IDLE;
use crate::wire::raw::RawProtocol;

/// After a failure a sender's datagrams are dropped this long, so that a flood of them is no flood
/// of requests.
const PAUSE: Duration = Duration::from_secs(1);

/// Carries a connection to its end.
pub(super) async fn connection(
    worker: Rc<Worker>,
    config: Arc<PortConfig>,
    mut stream: TcpStream,
    peer: SocketAddr,
) {
    if !allowed(&worker, &config, peer) {
        abort(&stream);
        return;
    }
    if let Err(error) = tune_end(&stream) {
        tracing::debug!(%error, %peer, "can not set a socket's options");
    }
    let mut record = record(&worker, &config, peer);
    let Some((mut sender, mut receiver)) =
        open(&worker, &config, &mut record, RawProtocol::Tcp).await
    else {
        abort(&stream);
        return;
    };
    let (sent, received) = (record.counted.sent.clone(), record.counted.received.clone());
    let relayed = relay(&mut stream, &mut sender, &mut receiver, &sent, &received).await;
    if relayed.is_err() {
        abort(&stream);
    }
    record.relayed(relayed);
}

/// Carries a sender's datagrams until the agent has enough.
pub(super) async fn datagrams(worker: Rc<Worker>, config: Arc<PortConfig>, flow: Flow) {
    if !allowed(&worker, &config, flow.peer) {
        return;
    }
    let mut record = record(&worker, &config, flow.peer);
    let Some((mut sender, mut receiver)) =
        open(&worker, &config, &mut record, RawProtocol::Udp).await
    else {
        return sleep(PAUSE).await;
    };
    let mut datagrams = Datagrams {
        queue: &flow.queue,
        sender: &mut sender,
        receiver: &mut receiver,
        request: &record.counted,
        // The agent's own is shorter, unless it was told otherwise.
        idle: HALF_CLOSED_IDLE,
    };
    let relayed = datagrams.relay(async |datagram| flow.send(datagram).await);
    let relayed = relayed.await;
    record.relayed(relayed);
}

fn allowed(worker: &Worker, config: &PortConfig, peer: SocketAddr) -> bool {
    let allowed = config.allows(peer.ip());
    if !allowed {
        worker.shared.metrics.port_refusals.inc();
        tracing::debug!(%peer, addr = %config.listen, "not in the port's allow-list");
    }
    allowed
}

fn record(worker: &Worker, config: &PortConfig, peer: SocketAddr) -> Record {
    Record {
        request_id: random_id(16).unwrap_or_default(),
        peer,
        subject: subject(config),
        token_id: String::new(),
        cluster: config.cluster.clone(),
        service: config.service.clone(),
        method: Method::CONNECT,
        path: String::new(),
        status: None,
        counted: Request::begin(&worker.shared.metrics.tunnel, &config.service),
        reason: None,
    }
}

/// Who asks, as far as is known: whoever reaches the port.
fn subject(config: &PortConfig) -> String {
    format!("port:{}", config.listen)
}

/// Opens the service; `None` when it can not be, which the log tells.
async fn open(
    worker: &Worker,
    config: &PortConfig,
    record: &mut Record,
    protocol: RawProtocol,
) -> Option<(Sender, Receiver)> {
    let head = RequestHead {
        method: Method::CONNECT,
        service: config.service.clone(),
        target: String::new(),
        prefix: String::new(),
        host: config.listen.to_string(),
        identity: Identity {
            subject: subject(config),
            ..Identity::default()
        },
        request_id: record.request_id.clone(),
        upgrade: Some(protocol.token().to_owned()),
        end: true,
        headers: HeaderMap::new(),
    };
    let opened = match worker.shared.directory.cluster_by_name(&config.cluster) {
        Some(cluster) => {
            record.cluster = cluster.id.to_string();
            let known = worker.shared.fleet.entry(cluster.id.as_str());
            record.counted.goes_to(Arc::clone(&known.traffic));
            proxy::open(worker, &cluster, head, record.counted.begun).await
        }
        None => Err(ApiError::new(
            ErrorCode::ClusterUnknown,
            format!(
                "no cluster '{}' is registered: check `ports`",
                config.cluster
            ),
        )),
    };
    match opened {
        Ok(ends) => {
            record.answered(StatusCode::SWITCHING_PROTOCOLS);
            Some(ends)
        }
        Err(error) => {
            worker.shared.metrics.tunnel.errors.get(error.code).inc();
            record.refused(&error);
            None
        }
    }
}
