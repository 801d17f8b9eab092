//! The cluster, a gateway and an agent that all tests share, and users of them.

use crate::common::{
    DEADLINE,
    agent::{Agent, AgentConfig},
    cluster::{Cluster, cluster, left_out, say},
    connect_proxy::ConnectProxy,
    eventually,
    gateway::{DOMAIN, Gateway},
    http::Target,
    kubeconfig,
    kubectl::Kubectl,
    process::Tail,
    temp_dir,
};
use serde_json::{Value, json};
use std::{
    env,
    fmt::{self, Display},
    io::Read,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// The shared cluster's name and id at the shared gateway.
pub const CLUSTER: &str = "e2e";
pub const CLUSTER_ID: &str = "cls-e2e";

/// A function `f(&Env, Form)` as two tests, `f::path_form` and `f::host_form`.
macro_rules! by_both_forms {
    ($($name:ident),+ $(,)?) => { $(
        mod $name {
            use crate::env::{Form, with};

            #[test]
            fn path_form() {
                with(|env| super::$name(env, Form::Path));
            }

            #[test]
            fn host_form() {
                with(|env| super::$name(env, Form::Host));
            }
        }
    )+ };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `https://gateway/v1/clusters/NAME/tunnel/kubernetes`
    Path,
    /// `https://tunnel-ID.domain/kubernetes`
    Host,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Viewer,
    Editor,
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Admin];

    /// The subject of this role's tokens.
    pub fn subject(self) -> String {
        format!("{self}@example.com")
    }

    /// The account that Kubernetes sees.
    pub fn account(self) -> String {
        format!("system:serviceaccount:pipeops-system:pipeops-{self}")
    }
}

impl Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        })
    }
}

/// A gateway and an agent, already connected.
#[derive(Debug)]
pub struct Tunnel {
    pub gateway: Gateway,
    pub agent: Agent,
    pub proxy: ConnectProxy,
}

/// No tunnel: the agent's account impersonates by itself, for a control run.
#[derive(Debug)]
struct Direct {
    token: String,
    proxy: ConnectProxy,
}

#[derive(Debug)]
pub struct Env {
    pub cluster: &'static Cluster,
    link: Result<Box<Tunnel>, Direct>,
}

/// Runs a test, unless the Kubernetes tests are left out.
pub fn with(test: impl FnOnce(&'static Env)) {
    static ENV: OnceLock<Env> = OnceLock::new();
    if !left_out() {
        test(ENV.get_or_init(|| Env::start(cluster())));
    }
}

/// Runs a test that makes no sense in a control run.
pub fn with_tunnel(test: impl FnOnce(&'static Env, &'static Tunnel)) {
    with(|env| match &env.link {
        Ok(tunnel) => test(env, tunnel),
        Err(_) => say("skipped in a control run: it is about the tunnel itself"),
    });
}

impl Env {
    fn start(cluster: &'static Cluster) -> Self {
        if env::var_os("PIPEOPS_TEST_KUBERNETES_DIRECT").is_some() {
            say("control run: straight to the API server, nothing of the tunnel is tested");
            let token = cluster.account_token("pipeops-agent", "");
            return Self {
                cluster,
                link: Err(Direct {
                    token,
                    proxy: ConnectProxy::start(cluster.addr),
                }),
            };
        }
        let gateway = Gateway::start();
        let agent = AgentConfig::new(&gateway, CLUSTER, CLUSTER_ID)
            .kubernetes(&cluster.agent_kubeconfig())
            .start();
        let proxy = ConnectProxy::start(gateway.addr);
        Self {
            cluster,
            link: Ok(Box::new(Tunnel {
                gateway,
                agent,
                proxy,
            })),
        }
    }

    pub fn logs(&self) -> Vec<Tail> {
        self.link
            .as_ref()
            .map(|t| vec![t.gateway.tail(), t.agent.tail()])
            .unwrap_or_default()
    }

    /// kubectl as a user of this role.
    pub fn kubectl(&self, role: Role, form: Form) -> Kubectl {
        let program = &self.cluster.kubectl_program;
        let file = match &self.link {
            Ok(tunnel) => {
                let by_path =
                    tunnel
                        .gateway
                        .kubeconfig(CLUSTER, &role.to_string(), &role.subject());
                match form {
                    Form::Path => by_path,
                    Form::Host => {
                        let config = Kubectl::new(program, &by_path)
                            .ok("config view --raw --flatten -o json");
                        let file = temp_dir("kubeconfig").join("host");
                        let server = tunnel.gateway.host_server(CLUSTER_ID);
                        kubeconfig::readdress(&config, &file, &server, &tunnel.proxy.url());
                        file
                    }
                }
            }
            Err(direct) => self.direct_kubeconfig(direct, role, form),
        };
        Kubectl::new(program, &file).with_logs(&self.logs())
    }

    fn direct_kubeconfig(&self, direct: &Direct, role: Role, form: Form) -> PathBuf {
        let file = temp_dir("kubeconfig").join("direct");
        let extra = json!({"pipeops.io/subject": [role.subject()]});
        let user = json!({"token": direct.token, "as": role.account(), "as-user-extra": extra});
        let by_name = format!(
            "https://kubernetes.default.svc:{}",
            self.cluster.addr.port()
        );
        let (server, proxy) = match form {
            Form::Path => (self.cluster.server.as_str(), None),
            Form::Host => (by_name.as_str(), Some(direct.proxy.url())),
        };
        kubeconfig::write(&file, server, &self.cluster.ca, proxy.as_deref(), &user);
        file
    }

    /// A raw client as a user of this role.
    pub fn target(&self, role: Role, form: Form) -> Target {
        match &self.link {
            Ok(tunnel) => {
                let gateway = &tunnel.gateway;
                let scope = "tunnel:kubernetes";
                let token = gateway.user_token(&role.subject(), &role.to_string(), CLUSTER, scope);
                let (host, base) = match form {
                    Form::Path => (
                        "localhost".to_owned(),
                        format!("/v1/clusters/{CLUSTER}/tunnel/kubernetes"),
                    ),
                    Form::Host => (
                        format!("tunnel-{CLUSTER_ID}.{DOMAIN}"),
                        "/kubernetes".to_owned(),
                    ),
                };
                target(gateway.addr, &host, &base, gateway.ca(), &token)
            }
            Err(direct) => {
                let host = "kubernetes.default.svc";
                let mut target = target(
                    self.cluster.addr,
                    host,
                    "",
                    self.cluster.ca.clone(),
                    &direct.token,
                );
                target
                    .headers
                    .push(("Impersonate-User".to_owned(), role.account()));
                target
            }
        }
    }

    /// A new namespace in which editors may write.
    pub fn namespace(&'static self, about: &str) -> Space {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("e2e-{about}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = self.cluster.admin.clone().in_namespace(&name);
        admin.ok(&format!("create namespace {name}"));
        let editor = "--serviceaccount pipeops-system:pipeops-editor";
        admin.ok(&format!(
            "create rolebinding pipeops-editor --clusterrole edit {editor}"
        ));
        eventually("the namespace's default ServiceAccount", DEADLINE, || {
            let out = admin.run("get serviceaccount default");
            if out.code == Some(0) {
                Ok(())
            } else {
                Err(out.stderr)
            }
        });
        Space {
            env: self,
            name,
            admin: admin.with_logs(&self.logs()),
        }
    }
}

fn target(addr: SocketAddr, host: &str, base: &str, ca: PathBuf, token: &str) -> Target {
    let headers = vec![("Authorization".to_owned(), format!("Bearer {token}"))];
    Target {
        addr,
        host: host.to_owned(),
        base: base.to_owned(),
        ca,
        headers,
    }
}

/// A namespace of one test.
#[derive(Debug)]
pub struct Space {
    env: &'static Env,
    pub name: String,
    /// kubectl as system:masters in this namespace, not through the tunnel.
    pub admin: Kubectl,
}

impl Space {
    /// kubectl through the tunnel in this namespace.
    pub fn kubectl(&self, role: Role, form: Form) -> Kubectl {
        self.env.kubectl(role, form).in_namespace(&self.name)
    }

    /// Runs a shell script in a pod on the real node and waits until it runs.
    pub fn pod(&self, name: &str, script: &str) {
        self.pod_with(name, script, json!({}));
    }

    /// [`Self::pod`] with more fields for its container.
    pub fn pod_with(&self, name: &str, script: &str, more: Value) {
        let Value::Object(mut main) = container(script) else {
            unreachable!()
        };
        let Value::Object(more) = more else {
            unreachable!()
        };
        main.extend(more);
        self.admin.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"containers": [main], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                     "automountServiceAccountToken": false},
        }));
        self.admin.ok(&format!(
            "wait pod/{name} --for=condition=Ready --timeout=120s"
        ));
    }
}

impl Space {
    /// Writes a file in a pod, not through the tunnel. `true` keeps the shell,
    /// and with it the command's standard output, open: containerd closes a
    /// command's input as soon as one of its outputs is closed.
    pub fn upload(&self, pod: &str, file: &str, content: impl Read + Send) {
        let write = format!("cat >{file}; true");
        self.admin
            .ok_with(&["exec", "-i", pod, "--", "sh", "-c", &write], content);
    }
}

/// A container of the image that the real node has.
pub fn container(script: &str) -> Value {
    json!({"name": "main", "image": "harness.local/busybox:1", "imagePullPolicy": "IfNotPresent",
           "command": ["sh", "-c", script]})
}

/// For pods that tests look into.
pub const IDLE: &str = "sleep 1000000";

/// A ConfigMap.
pub fn config_map(name: &str, key: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key: value}})
}
