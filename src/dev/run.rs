//! The trial as a whole: start, tell where everything is, drain.

use std::env;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::subscriber::{NoSubscriber, set_default};

use super::demo::Demo;
use super::identity::{Identity, IdentityError};
use super::listen::{self, Face};
use super::summary::{Kubernetes, Summary};
use crate::agent::cluster::Cluster;
use crate::agent::config::{
    AgentConfig, ClusterConfig, ForwardConfig, IdentityMode, KubernetesConfig, PlatformConfig,
    Prefix, Protocol, ProxyConfig, TunnelConfig,
};
use crate::agent::{Agent, AgentError, Connection};
use crate::config::Period;
use crate::gateway::cli::kubeconfig::PublicAddress;
use crate::gateway::config::{GatewayConfig, TlsConfig};
use crate::gateway::{Gateway, GatewayError};
use crate::process::Failure;

/// The name under which a browser and curl find loopback by themselves (RFC 6761, 6.3).
const DOMAIN: &str = "pipeops.localhost";
/// The demo's name in URLs.
pub(super) const DEMO: &str = "demo";
/// A cluster that takes longer to answer is not there for a trial.
const CLUSTER_DEADLINE: Duration = Duration::from_secs(3);
/// A credential plugin may take this long on top of it.
const PLUGIN_DEADLINE: Duration = Duration::from_secs(5);
/// Both ends are in this process: far less is needed.
const READY_DEADLINE: Duration = Duration::from_secs(15);
/// A person waits for this; an open event stream would take any time that it is given.
pub(super) const DRAIN: Period = Period::from_secs(10);

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct DevOptions {
    /// Where CA, tokens and store are; by default below the user's own state folder.
    pub state_dir: Option<PathBuf>,
    /// Address of the gateway; by default 127.0.0.1:8443, or a free port where that is taken.
    pub listen: Option<SocketAddr>,
    /// Let requests change the cluster.
    pub allow_write: bool,
    /// Serve a Kubernetes cluster if one answers.
    pub kubernetes: bool,
    /// The kubeconfig to use instead of what kube finds.
    pub kubeconfig: Option<PathBuf>,
    /// The context to use of it.
    pub context: Option<String>,
}

/// Why the trial does not start.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// There is no user's folder to keep the state in.
    #[error("there is no folder for the state: give one with --state-dir, or set HOME")]
    NoStateDir,
    /// The state folder's name can not be made absolute.
    #[error("can not use the state folder: {0}")]
    StateDir(io::Error),
    /// The address can not be listened on.
    #[error(
        "can not listen on {address}: {source}; choose another with --listen (port 0 takes a free one)"
    )]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The demo has no port.
    #[error("can not start the demo service: {0}")]
    Demo(io::Error),
    /// The gateway does not start.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// There are no tokens.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The CA that the gateway just made can not be read.
    #[error("can not read {}: {source}", path.display())]
    Ca {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The agent does not start.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Agent and gateway do not find each other.
    #[error("the agent did not reach the gateway: {0}")]
    NotReady(String),
}

impl From<DevError> for Failure {
    fn from(error: DevError) -> Self {
        match error {
            DevError::Gateway(error) => error.into(),
            DevError::Agent(error) => error.into(),
            DevError::NoStateDir => Self::usage(&error),
            DevError::StateDir(_)
            | DevError::Listen { .. }
            | DevError::Demo(_)
            | DevError::Identity(_)
            | DevError::Ca { .. }
            | DevError::NotReady(_) => Self::failed(&error),
        }
    }
}

/// A running trial. Dropped without [`Dev::shutdown`], it ends at once.
#[derive(Debug)]
pub struct Dev {
    gateway: Gateway,
    agent: Agent,
    demo: Demo,
    summary: Summary,
}

impl Dev {
    /// Starts everything; when this returns, requests get through.
    ///
    /// # Errors
    /// [`DevError`], which says what to change. That no cluster answers is not an error.
    pub async fn start(options: DevOptions) -> Result<Self, DevError> {
        let folder = state_dir(options.state_dir.clone())?;
        let (listen, note) = listen::choose(options.listen)
            .map_err(|(address, source)| DevError::Listen { address, source })?;
        let (faces, faces_note) = listen::faces(options.listen);
        let demo = Demo::start().await.map_err(DevError::Demo)?;
        let gateway = Gateway::start(gateway_config(&folder, listen, faces.gateway))?;
        let (identity, probed) = tokio::join!(
            Identity::establish(gateway.directory(), &folder),
            probe(&options)
        );
        let identity = identity?;
        let address = listen::reach(gateway.address());
        let config = agent_config(
            &options,
            &identity,
            &folder,
            address,
            demo.address(),
            probed.is_ok(),
        );
        let agent = Agent::start(AgentConfig {
            admin: faces.agent.0,
            monitoring: faces.agent.1,
            ..config
        })?;
        let url = format!("https://{address}");
        let kubernetes = match probed {
            Ok(cluster) => {
                let kubeconfig = folder.join("dev.kubeconfig");
                identity.write_kubeconfig(&kubeconfig, &public_address(&folder, &url)?)?;
                Kubernetes::Served {
                    cluster,
                    allow_write: options.allow_write,
                    kubeconfig,
                }
            }
            Err(why) => Kubernetes::Absent(why),
        };
        ready(&agent).await?;
        let summary = Summary {
            notes: note.into_iter().chain(faces_note).collect(),
            address,
            agent: agent.admin_addresses(),
            gateway: gateway.admin_addresses(),
            host: format!("tunnel-{}.{DOMAIN}", identity.cluster.id),
            cluster: identity.cluster.name.to_string(),
            demo: demo.address(),
            kubernetes,
            user_token: identity.user_token,
            folder,
        };
        Ok(Self {
            gateway,
            agent,
            demo,
            summary,
        })
    }

    /// Where everything is, and lines to paste.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What to tell a person before [`Dev::shutdown`].
    #[must_use]
    pub fn drain_notice(&self) -> String {
        format!("draining: requests under way have {DRAIN} to end; Ctrl-C again ends at once")
    }

    /// Takes no new requests, waits for those under way, then ends.
    pub async fn shutdown(self) {
        // The gateway last: the agent's requests end through it, and new ones get an answer.
        self.agent.shutdown().await;
        self.gateway.shutdown().await;
        drop(self.demo);
    }
}

/// The folder to keep the state in (XDG Base Directory Specification), absolute.
fn state_dir(given: Option<PathBuf>) -> Result<PathBuf, DevError> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let folder = given
        .or_else(|| absolute("XDG_STATE_HOME").map(|state| state.join("pipeops-dev")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state/pipeops-dev")))
        .ok_or(DevError::NoStateDir)?;
    std::path::absolute(folder).map_err(DevError::StateDir)
}

fn gateway_config(folder: &Path, listen: SocketAddr, (admin, monitoring): Face) -> GatewayConfig {
    let names = [
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "[::1]".to_owned(),
    ];
    let ip = listen::reach(listen).ip();
    let specific = (!ip.is_loopback()).then(|| match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    });
    GatewayConfig {
        listen,
        domain: DOMAIN.to_owned(),
        public_url: None,
        hosts: names.into_iter().chain(specific).collect(),
        state_dir: folder.to_owned(),
        tls: TlsConfig {
            self_signed: true,
            ..TlsConfig::default()
        },
        admin,
        monitoring,
        drain_timeout: DRAIN,
        ..GatewayConfig::default()
    }
}

fn kubernetes_config(options: &DevOptions, enabled: bool) -> KubernetesConfig {
    KubernetesConfig {
        enabled,
        kubeconfig: options.kubeconfig.clone(),
        context: options.context.clone(),
        identity: IdentityMode::Agent,
        read_only: !options.allow_write,
        ..KubernetesConfig::default()
    }
}

fn agent_config(
    options: &DevOptions,
    identity: &Identity,
    folder: &Path,
    gateway: SocketAddr,
    demo: SocketAddr,
    kubernetes: bool,
) -> AgentConfig {
    let forward = ForwardConfig {
        name: DEMO.to_owned(),
        local_addr: demo.to_string(),
        protocol: Protocol::Http,
        prefix: Prefix::Strip,
        ca_file: None,
        server_name: None,
        insecure_skip_verify: false,
        authorization_file: None,
        response_timeout: Period::from_secs(60),
        idle_timeout: Period::from_secs(120),
    };
    AgentConfig {
        agent: ClusterConfig {
            cluster_name: Some(identity.cluster.name.to_string()),
            cluster_id: Some(identity.cluster.id.to_string()),
            ..ClusterConfig::default()
        },
        pipeops: PlatformConfig {
            api_url: Some(format!("https://{gateway}")),
            token: None,
            token_file: Some(identity.agent_token.clone()),
            ca_file: Some(folder.join("ca.crt")),
            // The gateway is in this process, whatever proxy leads out of this machine.
            proxy: ProxyConfig {
                no_proxy: Some("*".to_owned()),
                ..ProxyConfig::default()
            },
            ..PlatformConfig::default()
        },
        tunnel: TunnelConfig {
            forwards: vec![forward],
            ..TunnelConfig::default()
        },
        kubernetes: kubernetes_config(options, kubernetes),
        drain_timeout: DRAIN,
        ..AgentConfig::default()
    }
}

fn public_address(folder: &Path, url: &str) -> Result<PublicAddress, DevError> {
    let path = folder.join("ca.crt");
    match std::fs::read_to_string(&path) {
        Ok(pem) => Ok(PublicAddress {
            url: url.to_owned(),
            ca_pem: Some(pem),
        }),
        Err(source) => Err(DevError::Ca { path, source }),
    }
}

/// Looks for the cluster, on a thread of its own, since a kubeconfig may name a program to run.
async fn probe(options: &DevOptions) -> Result<Cluster, String> {
    if !options.kubernetes {
        return Err("left out (--no-kubernetes)".to_owned());
    }
    let config = kubernetes_config(options, true);
    let asked = spawn_blocking(move || {
        // That nobody answers is no fault; the summary says so.
        let _quiet = set_default(NoSubscriber::default());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime
            .block_on(Cluster::probe(&config, CLUSTER_DEADLINE))
            .map_err(|error| error.to_string())
    });
    match timeout(CLUSTER_DEADLINE + PLUGIN_DEADLINE, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the kubeconfig's credential plugin takes too long".to_owned()),
    }
}

/// Waits until a request would get through.
async fn ready(agent: &Agent) -> Result<(), DevError> {
    let mut status = agent.status();
    let settled = status.wait_for(|status| status.is_ready() || is_hopeless(&status.connection));
    match timeout(READY_DEADLINE, settled).await {
        Ok(Ok(status)) if status.is_ready() => return Ok(()),
        Ok(Err(_)) => return Err(DevError::NotReady("it has ended".to_owned())),
        Ok(Ok(_)) | Err(_) => {}
    }
    let why = match agent.status().borrow().connection.clone() {
        Connection::Refused(why)
        | Connection::BadCertificate(why)
        | Connection::Unreachable(why) => why,
        Connection::Connecting | Connection::Connected => {
            format!("it is not ready after {} s", READY_DEADLINE.as_secs())
        }
    };
    Err(DevError::NotReady(why))
}

/// Between two ends of our own, waiting does not help against these.
fn is_hopeless(connection: &Connection) -> bool {
    matches!(
        connection,
        Connection::Refused(_) | Connection::BadCertificate(_)
    )
}
