//! `GET /v1/agent/connect`: who gets a control channel, and who only a look at it.

use std::rc::Rc;

use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tokio::task::spawn_local;

use super::control::Peer;
use super::metrics::AuthFailure;
use super::service::Client;
use super::store::ClusterRecord;
use super::worker::Worker;
use super::{control, probe, switch};
use crate::wire::carrier::CARRIERS_HEADER;
use crate::wire::control::{
    INSTANCE_HEADER, PROBE_DOCTOR, PROBE_HEADER, PROTOCOL_HEADER, PROTOCOL_VERSION,
};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::limits::{MAX_AGENTS_PER_CLUSTER, MAX_CARRIERS};
use crate::wire::token::TokenKind;

/// Answers an agent's request to connect, and runs its control channel once it has switched.
pub(super) fn accept(
    worker: &Rc<Worker>,
    client: &Client,
    mut request: Request<Incoming>,
) -> Result<Response<()>, ApiError> {
    let key = switch::websocket_key(request.headers())?;
    let grant = worker.authenticate(request.headers())?;
    if grant.kind != TokenKind::Agent {
        worker.auth_failed(AuthFailure::Kind);
        return Err(ApiError::new(
            ErrorCode::Forbidden,
            "a user token can not connect an agent; create one with `pipeops-gateway token create agent`",
        ));
    }
    let cluster = grant
        .agent_cluster()
        .and_then(|id| worker.shared.directory.cluster_by_id(id.as_str()))
        .ok_or_else(|| {
            ApiError::new(
                ErrorCode::Forbidden,
                "the token's cluster is no longer registered",
            )
        })?;
    check_cluster_id(&request, &cluster)
        .inspect_err(|_| worker.auth_failed(AuthFailure::ClusterId))?;
    let peer = Peer {
        carriers: carriers(request.headers()),
        protocol: protocol(request.headers()),
        instance: instance(request.headers()),
    };
    if is_probe(request.headers())? {
        let permit = worker.shared.probes.begin(cluster.id.as_str())?;
        let upgrade = hyper::upgrade::on(&mut request);
        let probe = probe::Probe {
            permit,
            grant,
            cluster,
            peer,
        };
        spawn_local(probe.run(Rc::clone(worker), upgrade));
        return Ok(switch::to_websocket(&key));
    }
    if worker.agents.count(cluster.id.as_str()) >= MAX_AGENTS_PER_CLUSTER {
        return Err(ApiError::new(
            ErrorCode::TooManyRequests,
            format!("{MAX_AGENTS_PER_CLUSTER} agents of this cluster are connected already"),
        ));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tracing::debug!(peer = %client.peer, cluster = %cluster.id, "an agent connects");
    spawn_local(control::run(
        Rc::clone(worker),
        grant,
        cluster,
        peer,
        upgrade,
    ));
    Ok(switch::to_websocket(&key))
}

fn check_cluster_id(request: &Request<Incoming>, cluster: &ClusterRecord) -> Result<(), ApiError> {
    match request.headers().get("x-cluster-id") {
        Some(id) if id.as_bytes() != cluster.id.as_str().as_bytes() => Err(ApiError::new(
            ErrorCode::Forbidden,
            "the token belongs to another cluster than X-Cluster-ID says; check the agent's cluster_id and token",
        )),
        _ => Ok(()),
    }
}

/// How many carriers each worker may have of the agent; one that does not say leaves it to us.
fn carriers(headers: &HeaderMap) -> usize {
    let said = headers
        .get(CARRIERS_HEADER)
        .and_then(|value| value.to_str().ok());
    let said = said.and_then(|value| value.parse().ok());
    said.unwrap_or(MAX_CARRIERS).clamp(1, MAX_CARRIERS)
}

/// The version of the control protocol that both speak; an agent that does not say speaks the first.
fn protocol(headers: &HeaderMap) -> u32 {
    let said = headers
        .get(PROTOCOL_HEADER)
        .and_then(|value| value.to_str().ok());
    let said = said.and_then(|value| value.parse().ok());
    said.unwrap_or(1).clamp(1, PROTOCOL_VERSION)
}

/// The name of the agent's process. One that is too long is as good as none.
fn instance(headers: &HeaderMap) -> String {
    let said = headers
        .get(INSTANCE_HEADER)
        .and_then(|value| value.to_str().ok());
    said.filter(|name| name.len() <= 64)
        .unwrap_or_default()
        .to_owned()
}

/// Whether somebody looks whether an agent could connect, and is none.
fn is_probe(headers: &HeaderMap) -> Result<bool, ApiError> {
    match headers.get(PROBE_HEADER) {
        None => Ok(false),
        Some(kind) if kind == PROBE_DOCTOR => Ok(true),
        // Whatever else it wants, it is not to be taken for an agent.
        Some(_) => Err(ApiError::new(
            ErrorCode::InvalidRequest,
            "this gateway knows no probe but `X-PipeOps-Probe: doctor`",
        )),
    }
}
