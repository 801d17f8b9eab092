//! The agent's configuration, in the contract's form.

mod files;
mod settings;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::{AdminConfig, MonitoringConfig};
use crate::config::{LogConfig, Period, Secret};
use crate::wire::carrier::CarrierKind;
use crate::wire::limits::MAX_CARRIERS;
use crate::wire::token::Role;

/// The service name of the cluster's own API.
pub const KUBERNETES: &str = "kubernetes";

/// Everything that an operator sets.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AgentConfig {
    /// Which cluster this is.
    pub agent: ClusterConfig,
    /// The platform to connect to.
    pub pipeops: PlatformConfig,
    /// What is reachable through the tunnel besides Kubernetes.
    pub tunnel: TunnelConfig,
    /// What is measured, and where it is read.
    pub monitoring: MonitoringConfig,
    /// The cluster's own API.
    pub kubernetes: KubernetesConfig,
    /// What the platform may have done.
    pub commands: CommandsConfig,
    /// Probes, `/info` and `/config`.
    pub admin: AdminConfig,
    /// How long a drain waits for requests that are under way.
    pub drain_timeout: Period,
    /// Logs.
    pub log: LogConfig,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            agent: ClusterConfig::default(),
            pipeops: PlatformConfig::default(),
            tunnel: TunnelConfig::default(),
            kubernetes: KubernetesConfig::default(),
            commands: CommandsConfig::default(),
            admin: AdminConfig::at(8080),
            monitoring: MonitoringConfig::at(9091),
            drain_timeout: Period::from_secs(30),
            log: LogConfig::default(),
        }
    }
}

/// The `agent` section.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// The cluster's name, for logs; the gateway knows it by the token.
    #[schemars(regex(pattern = r"^[a-z0-9-]+$"), length(max = 63), extend("examples" = ["production-eu"]))]
    pub cluster_name: Option<String>,
    /// The cluster's id; when given, the gateway refuses a token of another cluster.
    #[schemars(regex(pattern = r"^[A-Za-z0-9._-]+$"), length(max = 63), extend("examples" = ["cls-123abc"]))]
    pub cluster_id: Option<String>,
    /// Namespace of the agent, and of the roles' service accounts.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"), length(max = 63))]
    pub namespace: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            cluster_name: None,
            cluster_id: None,
            namespace: "pipeops-system".to_owned(),
            labels: BTreeMap::new(),
        }
    }
}

/// The `pipeops` section.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PlatformConfig {
    /// URL of the gateway, `https://host[:port]`.
    #[schemars(regex(pattern = r"^https://[^/]+/?$"), extend("format" = "https-url"))]
    pub api_url: Option<String>,
    /// The agent token.
    pub token: Option<Secret>,
    /// A file that holds it; read again for each connection, so that it can be replaced.
    pub token_file: Option<PathBuf>,
    /// The only CA that may have signed the gateway's certificate; by default the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy on the way to the gateway.
    pub proxy: ProxyConfig,
    /// How long each step of connecting may take: the name and TCP, the proxy, TLS, and the gateway's
    /// answer.
    pub timeout: Period,
}

impl Default for PlatformConfig {
    fn default() -> Self {
        Self {
            api_url: None,
            token: None,
            token_file: None,
            ca_file: None,
            proxy: ProxyConfig::default(),
            timeout: Period::from_secs(30),
        }
    }
}

/// The `pipeops.proxy` section: a proxy for HTTP that is asked to CONNECT.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// Its URL, `http://[user:password@]host[:port]` or `https://…`; by default what `https_proxy`,
    /// `HTTPS_PROXY`, `all_proxy` or `ALL_PROXY` says, the first of them that is set.
    pub url: Option<Secret>,
    /// Hosts to which no proxy is used: names with all below them, addresses, networks (`10.0.0.0/8`),
    /// each with a port or without, and `*` for all; by default what `no_proxy` or `NO_PROXY` says.
    #[schemars(extend("examples" = ["gateway.internal,.example.com,10.0.0.0/8"]))]
    pub no_proxy: Option<String>,
    /// The only CA that may have signed the certificate of a proxy at `https://`; by default the
    /// system's.
    pub ca_file: Option<PathBuf>,
}

/// The `tunnel` section.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TunnelConfig {
    /// Whether carriers are opened; without them the agent only reports.
    pub enabled: bool,
    /// The connections that requests come by.
    pub carriers: CarriersConfig,
    /// MiB that the gateway may send that no target has read yet. Each stream takes 64 KiB of it from
    /// the start; one for which there is nothing left is refused.
    #[schemars(range(min = 16, max = 1048576))]
    pub receive_memory_mib: u32,
    /// Services by name (`grafana` is one of them).
    pub forwards: Vec<ForwardConfig>,
}

impl Default for TunnelConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            carriers: CarriersConfig::default(),
            receive_memory_mib: 256,
            forwards: Vec::new(),
        }
    }
}

/// The `tunnel.carriers` section.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CarriersConfig {
    /// The kinds to use, best first; the next one is tried when one does not work within seconds, and
    /// the better one again within a minute.
    pub prefer: Vec<CarrierKind>,
    /// How many each of the gateway's threads may have of this agent; all but the first come under
    /// load, and go with it.
    #[schemars(range(min = 1, max = 4))]
    pub count: usize,
}

impl Default for CarriersConfig {
    fn default() -> Self {
        Self {
            prefer: CarrierKind::ALL.to_vec(),
            count: MAX_CARRIERS,
        }
    }
}

/// One service that is reachable by its name.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardConfig {
    /// Its name in the URL.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"), length(max = 63), extend("examples" = ["grafana"]))]
    pub name: String,
    /// `host:port` as seen from the agent.
    #[schemars(extend("format" = "endpoint", "examples" = ["grafana.monitoring.svc:80"]))]
    pub local_addr: String,
    /// What it speaks.
    #[serde(default)]
    pub protocol: Protocol,
    /// Whether it sees the path with or without what the tunnel put before.
    #[serde(default)]
    pub prefix: Prefix,
    /// The only CA that may have signed its certificate; by default the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The name in its certificate, when that is not the host of `local_addr`.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Accept any certificate. Only where nobody else can answer at that address.
    #[serde(default)]
    pub insecure_skip_verify: bool,
    /// A file with the value of the `Authorization` header that it wants; it never leaves the
    /// cluster, and is read again when it changes.
    #[serde(default)]
    pub authorization_file: Option<PathBuf>,
    /// How long a request may wait for the response's head.
    #[serde(default = "default_response_timeout")]
    pub response_timeout: Period,
    /// With `udp`: a sender is forgotten, and its socket closed, when nothing came either way for
    /// this long.
    #[serde(default = "default_idle_timeout")]
    pub idle_timeout: Period,
}

/// What RFC 4787 (REQ-5) has the like of us keep at least.
fn default_idle_timeout() -> Period {
    Period::from_secs(120)
}

fn default_response_timeout() -> Period {
    Period::from_secs(60)
}

/// What a target speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 without TLS, with prior knowledge.
    Grpc,
    /// HTTP/2 over TLS.
    Grpcs,
    /// Anything over TCP, such as a database: a connection for each of a user's.
    Tcp,
    /// Anything over UDP, such as DNS: a socket for each sender.
    Udp,
}

/// What becomes of the part of the path that names the service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Prefix {
    /// The target sees what follows; `X-Forwarded-Prefix` says what was cut.
    #[default]
    Strip,
    /// The target sees the whole path.
    Keep,
}

/// The `kubernetes` section.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesConfig {
    /// Whether the cluster's API is served.
    pub enabled: bool,
    /// A kubeconfig; by default `$KUBECONFIG`, `~/.kube/config` or the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// The context to use of it.
    pub context: Option<String>,
    /// As whom requests are made.
    pub identity: IdentityMode,
    /// Let only reading requests pass, whatever the account may do.
    pub read_only: bool,
    /// How long a request may wait for the response's head; longer than any of the API server's
    /// own deadlines.
    pub response_timeout: Period,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            kubeconfig: None,
            context: None,
            identity: IdentityMode::Impersonate,
            read_only: false,
            response_timeout: Period::from_secs(600),
        }
    }
}

/// As whom requests to the cluster's API are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IdentityMode {
    /// As the service account of the user's role, with the user in `Impersonate-Extra`.
    #[default]
    Impersonate,
    /// As the agent's own account; viewers may only read.
    Agent,
}

/// The `commands` section: what the agent does for the platform, whatever the platform says.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommandsConfig {
    /// Whether any command is carried out.
    pub enabled: bool,
    /// Only reading: logs, and neither deployments nor programs in containers.
    pub read_only: bool,
    /// Whether programs may be run in containers.
    pub exec: bool,
    /// The namespaces that commands may touch; `*` is all.
    #[schemars(extend("examples" = [["shop", "shop-staging"]]))]
    pub namespaces: Vec<String>,
    /// The kinds that may be deployed, as `Kind` or `Kind.group`; `*` is all. Where `namespaces` is not all, a kind
    /// without a namespace has to be named here, but for the `Namespace` of the deployment itself.
    #[schemars(extend("examples" = [["Deployment.apps", "Service", "ConfigMap"]]))]
    pub kinds: Vec<String>,
    /// The role of commands that do not say on whose behalf they are given: the account `pipeops-<role>`.
    pub default_role: Role,
    /// How long a deployment may take to become ready where the command does not say; also the most that it may say.
    pub deploy_timeout: Period,
    /// How long a program in a container may run where the command does not say; also the most that it may say.
    pub exec_timeout: Period,
}

impl Default for CommandsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            read_only: false,
            exec: true,
            namespaces: vec!["*".to_owned()],
            kinds: vec!["*".to_owned()],
            default_role: Role::Editor,
            deploy_timeout: Period::from_secs(600),
            exec_timeout: Period::from_secs(3600),
        }
    }
}

impl AgentConfig {
    /// How many services can be reached through the tunnel.
    #[must_use]
    pub fn services(&self) -> usize {
        self.tunnel.forwards.len() + usize::from(self.kubernetes.enabled)
    }
}
