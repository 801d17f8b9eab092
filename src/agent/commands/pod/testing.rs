//! Pods on a real node, for tests.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "anything else fails the test"
)]

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{DeleteParams, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::agent::commands::output::decode;
use crate::agent::test_cluster::{Node, cluster};
use crate::wire::control::{Message, OutputStream};

/// A namespace of one test.
pub(in crate::agent::commands) struct Space {
    pub(in crate::agent::commands) client: Client,
    pub(in crate::agent::commands) name: String,
    config: Config,
}

impl Space {
    /// None, and a word about it, where there is no cluster.
    pub(in crate::agent::commands) async fn new(test: &str) -> Option<Self> {
        let file = Kubeconfig::read_from(&cluster(Node::Real)?.kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
            .await
            .unwrap();
        let client = Client::try_from(config.clone()).unwrap();
        let name = format!("{test}-{:08x}", fastrand::u32(..));
        let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        Some(Self {
            client,
            name,
            config,
        })
    }

    /// A client whose connections break after so many bytes from the API server, each.
    pub(in crate::agent::commands) async fn brittle(&self, after: u64) -> Client {
        let url = &self.config.cluster_url;
        let server = (url.host().unwrap().to_owned(), url.port_u16().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = self.config.clone();
        config.tls_server_name = Some(server.0.clone());
        config.cluster_url = format!("https://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = TcpStream::connect(server.clone()).await.unwrap();
                tokio::spawn(async move {
                    let (far_read, mut far_write) = far.split();
                    let (mut near_read, mut near_write) = near.split();
                    let mut far_read = far_read.take(after);
                    tokio::select! {
                        done = tokio::io::copy(&mut far_read, &mut near_write) => drop(done),
                        done = tokio::io::copy(&mut near_read, &mut far_write) => drop(done),
                    }
                });
            }
        });
        Client::try_from(config).unwrap()
    }

    /// A client that may do nothing.
    pub(in crate::agent::commands) fn nobody(&self) -> Client {
        let token = cluster(Node::Real)
            .unwrap()
            .kubeconfig
            .with_file_name("nobody.token");
        let mut config = self.config.clone();
        config.auth_info = AuthInfo {
            token: Some(std::fs::read_to_string(token).unwrap().trim().into()),
            ..AuthInfo::default()
        };
        Client::try_from(config).unwrap()
    }

    pub(in crate::agent::commands) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// A pod with a container `main` that runs a script and, where there are more names, idle ones beside it.
    pub(in crate::agent::commands) async fn pod(&self, name: &str, script: &str, more: &[&str]) {
        self.pod_like(name, script, more, json!({}), "Never").await;
    }

    /// [`Self::pod`] with annotations, and a policy for restarts.
    pub(in crate::agent::commands) async fn pod_like(
        &self,
        name: &str,
        script: &str,
        more: &[&str],
        annotations: Value,
        restart: &str,
    ) {
        let container = |name: &str, script: &str| {
            json!({"name": name, "image": "harness.local/busybox:1", "imagePullPolicy": "IfNotPresent",
                   "command": ["sh", "-c", script]})
        };
        let mut containers = vec![container("main", script)];
        containers.extend(more.iter().map(|name| container(name, "sleep 1000000")));
        let pod = json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"containers": containers, "restartPolicy": restart, "terminationGracePeriodSeconds": 0,
                     "automountServiceAccountToken": false},
        });
        let pod = serde_json::from_value(pod).unwrap();
        let mut tried = 0;
        // Its account comes about a moment after the namespace.
        while let Err(error) = self.pods().create(&PostParams::default(), &pod).await {
            tried += 1;
            assert!(tried < 100, "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.until(name, &["Running", "Succeeded", "Failed"]).await;
    }

    /// Waits for one of these phases.
    pub(in crate::agent::commands) async fn until(&self, name: &str, phases: &[&str]) {
        for _ in 0..1200 {
            let pod = self.pods().get(name).await.unwrap();
            let phase = pod.status.and_then(|status| status.phase);
            if phase.is_some_and(|phase| phases.contains(&phase.as_str())) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{name} is in none of {phases:?}");
    }

    pub(in crate::agent::commands) async fn end(self) {
        let params = DeleteParams::default().grace_period(0);
        Api::<Namespace>::all(self.client)
            .delete(&self.name, &params)
            .await
            .unwrap();
    }
}

/// What a command said: standard output or the log, and standard error.
#[derive(Debug, Default)]
pub(in crate::agent::commands) struct Said {
    pub(in crate::agent::commands) stdout: Vec<u8>,
    pub(in crate::agent::commands) stderr: Vec<u8>,
    pub(in crate::agent::commands) messages: u64,
}

impl Said {
    pub(in crate::agent::commands) fn take(&mut self, message: Message) {
        let (bytes, encoding, data, sequence) = match message {
            Message::ExecOutput(said) => {
                let to = match said.stream {
                    OutputStream::Stdout => &mut self.stdout,
                    OutputStream::Stderr => &mut self.stderr,
                };
                (to, said.encoding, said.data, said.sequence)
            }
            Message::LogsOutput(said) => {
                (&mut self.stdout, said.encoding, said.data, said.sequence)
            }
            other => panic!("{other:?}"),
        };
        self.messages += 1;
        assert_eq!(sequence, self.messages);
        bytes.extend(decode(encoding, &data).unwrap());
    }

    /// All that is said until the command has ended.
    pub(in crate::agent::commands) async fn of(mut queue: mpsc::Receiver<Message>) -> Self {
        let mut said = Self::default();
        while let Some(message) = queue.recv().await {
            said.take(message);
        }
        said
    }

    pub(in crate::agent::commands) fn text(&self) -> (&str, &str) {
        (
            std::str::from_utf8(&self.stdout).unwrap(),
            std::str::from_utf8(&self.stderr).unwrap(),
        )
    }
}
