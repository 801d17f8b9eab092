//! What the agent can reach: names from its configuration, and nothing else.

mod connect;
mod insecure;
mod interim;
mod kubernetes;
mod pods;
mod policy;
mod pool;
mod prepare;
mod raw;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;

use super::commands::Policy;
use super::config::{AgentConfig, ForwardConfig, KUBERNETES, KubernetesConfig, Protocol};
use super::metrics::TargetMeters;
use crate::http::body::ExchangeBody;
use crate::metrics::Registry;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::head::{COMMANDS, RequestHead};
#[cfg(doc)]
use crate::wire::limits::ORIGIN_IDLE;
use crate::wire::raw::RawProtocol;
pub(super) use insecure::accept_any;
pub(super) use kubernetes::{EXTRA_SUBJECT, kube_config};
pub(super) use policy::service_account;

use connect::Connector;
pub(super) use interim::Interim;
use kubernetes::Kubernetes;
use pool::Pool;
pub(super) use pool::{Lease, OriginError};
use prepare::Forward;
pub(super) use raw::Opened;
use raw::Raw;

/// Why a target can not be set up.
#[derive(Debug, thiserror::Error)]
#[error("service '{service}': {reason}")]
pub struct TargetError {
    service: String,
    reason: String,
}

/// All targets by name.
pub(super) struct Targets(BTreeMap<String, Target>);

impl Targets {
    pub(super) fn new(
        config: &AgentConfig,
        meters: &Arc<TargetMeters>,
    ) -> Result<Self, TargetError> {
        let mut targets = BTreeMap::new();
        for forward in &config.tunnel.forwards {
            targets.insert(forward.name.clone(), Target::forward(forward, meters)?);
        }
        if config.kubernetes.enabled {
            let api = Rc::new(Kubernetes::new(
                &config.kubernetes,
                &config.agent.namespace,
                Arc::clone(meters),
            ));
            let mut add = |name: &str, kind| {
                let target = Target {
                    name: name.to_owned(),
                    response_timeout: config.kubernetes.response_timeout.0,
                    kind,
                };
                targets.insert(name.to_owned(), target);
            };
            let policy = Policy::of(config);
            add(COMMANDS, Kind::Commands(Rc::clone(&api), policy));
            add(KUBERNETES, Kind::Kubernetes(api));
        }
        Ok(Self(targets))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Target> {
        self.0.get(name)
    }

    /// Whether no target is known to be out of use for want of a configuration.
    pub(super) fn are_usable(&self) -> bool {
        self.0.values().all(|target| match &target.kind {
            Kind::Kubernetes(kubernetes) => kubernetes.is_usable(),
            Kind::Commands(..) | Kind::Forward(_) | Kind::Raw(_) => true,
        })
    }

    /// Closes the connections that no request has used for [`ORIGIN_IDLE`].
    pub(super) fn expire(&self) {
        for target in self.0.values() {
            match &target.kind {
                Kind::Forward(forward) => forward.1.expire(),
                Kind::Kubernetes(kubernetes) => kubernetes.expire(),
                Kind::Commands(..) | Kind::Raw(_) => {}
            }
        }
    }

    /// The names, for an error. The platform's own service is nobody's to ask for.
    pub(super) fn names(&self) -> String {
        let names = self.0.keys().map(String::as_str);
        let names: Vec<&str> = names.filter(|name| *name != COMMANDS).collect();
        if names.is_empty() {
            return "none".to_owned();
        }
        names.join(", ")
    }
}

/// Whether the cluster's API can be used as it is configured; asks nobody.
///
/// # Errors
/// What is wrong, for the operator.
pub(super) async fn check_kubernetes(config: &KubernetesConfig) -> Result<(), String> {
    kubernetes::load(config, &unread()?).await.map(drop)
}

/// Connects to a forward as a request would, and lets the connection go.
///
/// # Errors
/// What is wrong, for the operator.
pub(super) async fn reach(forward: &ForwardConfig) -> Result<(), String> {
    let connector = Connector::forward(forward, unread()?)?;
    let connected = if forward.protocol == Protocol::Udp {
        connector.connect_udp().await.map(drop)
    } else {
        connector.connect().await.map(drop)
    };
    connected.map_err(|error| error.to_string())
}

/// Counts for nobody: these connections are no user's.
fn unread() -> Result<Arc<TargetMeters>, String> {
    let meters = TargetMeters::new(&mut Registry::new("unread"));
    meters.map(Arc::new).map_err(|error| error.to_string())
}

/// One service that requests can be sent to.
pub(super) struct Target {
    name: String,
    response_timeout: Duration,
    kind: Kind,
}

enum Kind {
    Kubernetes(Rc<Kubernetes>),
    /// Logs and programs in pods.
    Commands(Rc<Kubernetes>, Policy),
    Forward(Box<(Forward, Pool)>),
    Raw(Raw),
}

/// A response, and the connection that it comes on.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
}

impl Target {
    fn forward(config: &ForwardConfig, meters: &Arc<TargetMeters>) -> Result<Self, TargetError> {
        let failed = |reason: String| TargetError {
            service: config.name.clone(),
            reason,
        };
        let connector = Connector::forward(config, Arc::clone(meters)).map_err(failed)?;
        let http = |connector, h2| {
            let forward = Forward::new(config).map_err(failed)?;
            Ok(Kind::Forward(Box::new((forward, Pool::new(connector, h2)))))
        };
        let kind = match config.protocol {
            Protocol::Http | Protocol::Https => http(connector, false)?,
            Protocol::Grpc | Protocol::Grpcs => http(connector, true)?,
            Protocol::Tcp => Kind::Raw(Raw::Tcp(connector)),
            Protocol::Udp => Kind::Raw(Raw::Udp(connector, config.idle_timeout.0)),
        };
        Ok(Self {
            name: config.name.clone(),
            response_timeout: config.response_timeout.0,
            kind,
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the cluster's own API.
    pub(super) fn is_kubernetes(&self) -> bool {
        matches!(self.kind, Kind::Kubernetes(_))
    }

    /// How long a request may wait for the response's head.
    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Sends a request and waits for the response's head. Dropped, it gives the request up.
    ///
    /// # Errors
    /// What the client is told: refused by our policy, or whose fault it was.
    pub(super) async fn send(
        &self,
        head: RequestHead,
        body: ExchangeBody,
        interim: &Interim,
    ) -> Result<Answer, ApiError> {
        match &self.kind {
            Kind::Forward(forward) => {
                let (forward, pool) = forward.as_ref();
                let mut request = forward.prepare(head, body)?;
                interim.watch(&mut request);
                self.exchange(pool, request).await
            }
            Kind::Raw(raw) => Err(raw.no_http(&self.name)),
            Kind::Kubernetes(kubernetes) => self.ask(kubernetes, head, body, interim).await,
            Kind::Commands(kubernetes, policy) => {
                pods::check(&head, policy)?;
                self.ask(kubernetes, head, body, interim).await
            }
        }
    }

    /// Opens what an exchange of raw bytes or datagrams has of its own.
    ///
    /// # Errors
    /// What the client is told: no such service, or whose fault it was.
    pub(super) async fn open(&self, protocol: RawProtocol) -> Result<Opened, ApiError> {
        match &self.kind {
            Kind::Raw(raw) => raw.open(&self.name, protocol).await,
            Kind::Forward(_) | Kind::Kubernetes(_) | Kind::Commands(..) => {
                Err(raw::only_http(&self.name))
            }
        }
    }

    async fn ask(
        &self,
        kubernetes: &Kubernetes,
        head: RequestHead,
        body: ExchangeBody,
        interim: &Interim,
    ) -> Result<Answer, ApiError> {
        let api = kubernetes.api().await?;
        let mut request = kubernetes.prepare(&api, head, body).await?;
        interim.watch(&mut request);
        self.exchange(&api.pool, request).await
    }

    async fn exchange(
        &self,
        pool: &Pool,
        request: Request<ExchangeBody>,
    ) -> Result<Answer, ApiError> {
        pool.send(request)
            .await
            .map_err(|error| error.into_api_error(&self.name))
    }

    /// The error for a response that did not begin in time.
    pub(super) fn timed_out(&self) -> ApiError {
        ApiError::new(
            ErrorCode::TargetTimedOut,
            format!(
                "the service '{}' in the cluster did not answer within {} s",
                self.name,
                self.response_timeout.as_secs()
            ),
        )
    }

    /// The error for a target that does not keep to HTTP.
    pub(super) fn broken(&self, how: &str) -> ApiError {
        ApiError::new(
            ErrorCode::TargetFailed,
            format!("the service '{}' in the cluster failed: {how}", self.name),
        )
    }
}
