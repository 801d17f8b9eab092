//! Against a real API server. The reports share one thread, so this is one test, step by step.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, timeout};

use super::*;
use crate::agent::config::IdentityMode;
use crate::agent::test_cluster::{Node, cluster};
use crate::metrics::Registry;
use crate::wire::control::{ClusterStatus, Event, Health, Message, UsageSource};

/// How long a report may take: two windows of repetitions and some.
const PATIENCE: Duration = Duration::from_secs(90);

struct Rig {
    kubeconfig: PathBuf,
    namespace: String,
    messages: mpsc::Receiver<Message>,
    usage: watch::Receiver<Usage>,
    link: watch::Sender<Option<Link>>,
    status: Option<ClusterStatus>,
    events: Vec<Event>,
}

impl Rig {
    /// Reports on the cluster, if there is one.
    fn start(protocol: u32) -> Option<Self> {
        let kubeconfig = cluster(Node::Fake)?.kubeconfig.clone();
        let config = KubernetesConfig {
            kubeconfig: Some(kubeconfig.clone()),
            identity: IdentityMode::Impersonate,
            ..KubernetesConfig::default()
        };
        let (outgoing, messages) = mpsc::channel(4);
        let (usage, figures) = watch::channel(Usage::default());
        let (link, links) = watch::channel(Some(Link { outgoing, protocol }));
        let rig = Self {
            kubeconfig,
            namespace: format!("reports-{}-{protocol}", std::process::id()),
            messages,
            usage: figures,
            link,
            status: None,
            events: Vec::new(),
        };
        // With the rights that the agent has where it is installed, and no others.
        let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/manifests");
        rig.kubectl(&["apply", "-k", manifests], "");
        let meters = Arc::new(Meters::new(&mut Registry::new("test")).unwrap());
        spawn_local(run(config, "pipeops-system".into(), usage, links, meters));
        Some(rig)
    }

    /// Runs kubectl, and gives what it printed.
    fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let kubectl = &cluster(Node::Fake).unwrap().kubectl;
        let mut child = Command::new(kubectl)
            .env("KUBECONFIG", &self.kubeconfig)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "kubectl {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn count(&self, what: &str) -> u64 {
        let printed = self.kubectl(&["get", what, "-A", "--no-headers"], "");
        u64::try_from(printed.lines().count()).unwrap()
    }

    async fn message(&mut self) {
        let message = timeout(PATIENCE, self.messages.recv())
            .await
            .unwrap()
            .unwrap();
        if let Message::ClusterStatus(status) = message {
            eprintln!("{status:?}");
            self.status = Some(status);
        } else if let Message::EventBatch(batch) = message {
            self.keep(batch.events);
        } else if let Message::Event(event) = message {
            self.keep(vec![event]);
        } else {
            panic!("{message:?}");
        }
    }

    fn keep(&mut self, events: Vec<Event>) {
        for event in &events {
            eprintln!("{}", serde_json::to_string(event).unwrap());
        }
        self.events.extend(events);
    }

    /// The first event of this type about this object, which may have come already.
    async fn event(&mut self, kind: &str, resource: &str) -> Event {
        let begun = Instant::now();
        loop {
            let found = self
                .events
                .iter()
                .position(|e| e.event_type == kind && e.resource == resource);
            if let Some(at) = found {
                return self.events.remove(at);
            }
            assert!(begun.elapsed() < PATIENCE, "no {kind} of {resource}");
            self.message().await;
        }
    }

    async fn status(
        &mut self,
        what: &str,
        holds: impl Fn(&ClusterStatus) -> bool,
    ) -> ClusterStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.status.clone().filter(|status| holds(status)) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", self.status);
            self.message().await;
        }
    }

    fn create_pod(&self, name: &str) {
        let pod = format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {}}}, spec: {{containers: [{{name: app, \
             image: 'my-app:v1.0.0', resources: {{requests: {{cpu: 250m, memory: 64Mi}}}}}}]}}}}",
            self.namespace
        );
        self.kubectl(&["apply", "-f", "-"], &pod);
    }
}

#[tokio::test]
async fn a_cluster_is_reported_as_it_is() {
    LocalSet::new().run_until(Box::pin(whole())).await;
}

async fn whole() {
    let Some(mut rig) = Rig::start(2) else {
        return;
    };
    counts_agree(&mut rig).await;
    let namespace = rig.namespace.clone();
    rig.kubectl(&["create", "namespace", &namespace], "");
    tokio::time::sleep(Duration::from_secs(3)).await;
    pods_come_and_go(&mut rig).await;
    a_node_is_lost(&mut rig).await;
    a_warning_is_told(&mut rig).await;
    a_lost_link_loses_nothing(&mut rig).await;
    the_server_restarts(&mut rig).await;
    rig.kubectl(&["delete", "namespace", &namespace, "--wait=false"], "");
}

async fn counts_agree(rig: &mut Rig) {
    let status = rig
        .status("healthy", |status| status.health == Health::Healthy)
        .await;
    let seen = [status.nodes, status.pods, status.services];
    assert_eq!(
        seen,
        ["nodes", "pods", "services"].map(|what| rig.count(what))
    );
    assert_eq!(status.nodes_ready, Some(status.nodes));
    let version = rig.kubectl(&["version", "-o", "json"], "");
    assert!(version.contains(&status.kubernetes_version.unwrap()));
    assert!(
        !rig.events
            .iter()
            .any(|event| event.event_type == "pod_created")
    );
    // This cluster has no metrics-server.
    let usage = rig
        .usage
        .wait_for(|usage| usage.source.is_some())
        .await
        .unwrap()
        .clone();
    assert_eq!(usage.source, Some(UsageSource::Requested));
    eprintln!("{usage:?}");
}

async fn pods_come_and_go(rig: &mut Rig) {
    let before = rig.usage.borrow().metrics["cpu_usage"];
    rig.create_pod("web");
    let created = rig.event("pod_created", "web").await;
    assert_eq!(created.details["image"], "my-app:v1.0.0");
    assert_eq!(created.details["node"], "kwok-0");
    let ready = rig.event("pod_ready", "web").await;
    assert_eq!(
        (ready.namespace.as_str(), &ready.details["node"]),
        (rig.namespace.as_str(), &"kwok-0".into())
    );
    let more = rig
        .usage
        .wait_for(|usage| usage.metrics["cpu_usage"] > before)
        .await
        .unwrap()
        .clone();
    eprintln!("{more:?}");
    let (namespace, pods) = (rig.namespace.clone(), rig.count("pods"));
    rig.status("one pod more", |status| status.pods == pods)
        .await;
    let fail = |status: &str| {
        [
            "patch",
            "pod",
            "web",
            "-n",
            &namespace,
            "--subresource=status",
            "-p",
            status,
        ]
        .map(str::to_owned)
    };
    let restarted = r#"{"status":{"containerStatuses":[{"name":"app","image":"i","imageID":"","ready":true,"restartCount":3,"state":{"running":{}},"lastState":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}}"#;
    let failed = r#"{"status":{"phase":"Failed","reason":"Evicted","message":"low on memory"}}"#;
    for patch in [restarted, failed] {
        let arguments = fail(patch);
        rig.kubectl(&arguments.each_ref().map(String::as_str), "");
    }
    let restarted = rig.event("container_restarted", "web").await;
    assert_eq!(restarted.details["reason"], "OOMKilled");
    let failed = rig.event("pod_failed", "web").await;
    assert_eq!(failed.details["reason"], "Evicted");
    rig.kubectl(
        &[
            "delete",
            "pod",
            "web",
            "-n",
            &namespace,
            "--force",
            "--grace-period=0",
        ],
        "",
    );
    rig.event("pod_deleted", "web").await;
}

async fn a_node_is_lost(rig: &mut Rig) {
    let node = "{apiVersion: v1, kind: Node, metadata: {name: lost}}";
    rig.kubectl(&["apply", "-f", "-"], node);
    rig.event("node_created", "lost").await;
    let say = |ready: &str| {
        format!(
            r#"{{"status":{{"conditions":[{{"type":"Ready","status":"{ready}","reason":"Test"}}]}}}}"#
        )
    };
    for ready in ["True", "False"] {
        rig.kubectl(
            &[
                "patch",
                "node",
                "lost",
                "--subresource=status",
                "-p",
                &say(ready),
            ],
            "",
        );
        let kind = if ready == "True" {
            "node_ready"
        } else {
            "node_not_ready"
        };
        rig.event(kind, "lost").await;
    }
    let status = rig
        .status("degraded", |status| status.health == Health::Degraded)
        .await;
    assert_eq!(status.nodes_ready, Some(status.nodes - 1));
    assert!(
        status.reasons[0].contains("The node lost is not ready: "),
        "{status:?}"
    );
    rig.kubectl(&["delete", "node", "lost"], "");
    rig.event("node_deleted", "lost").await;
    rig.status("healthy again", |status| status.health == Health::Healthy)
        .await;
}

async fn a_warning_is_told(rig: &mut Rig) {
    let stuck = format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: stuck, namespace: {}}}, spec: {{nodeSelector: {{no: 'where'}}, containers: [{{name: app, image: i}}]}}}}",
        rig.namespace
    );
    rig.kubectl(&["apply", "-f", "-"], &stuck);
    let warning = rig.event("warning", "stuck").await;
    assert_eq!(warning.details["reason"], "FailedScheduling");
    assert_eq!(warning.details["kind"], "Pod");
}

async fn a_lost_link_loses_nothing(rig: &mut Rig) {
    let (outgoing, messages) = mpsc::channel(4);
    rig.link.send_replace(None);
    rig.create_pod("unheard");
    tokio::time::sleep(Duration::from_secs(3)).await;
    rig.messages = messages;
    rig.link.send_replace(Some(Link {
        outgoing,
        protocol: 1,
    }));
    rig.status = None;
    rig.event("pod_created", "unheard").await;
    rig.status("on each link", |_| true).await;
}

/// `PIPEOPS_TEST_RESTART` is a command that ends the API server and starts it again after a while.
async fn the_server_restarts(rig: &mut Rig) {
    let Ok(command) = std::env::var("PIPEOPS_TEST_RESTART") else {
        eprintln!("passed over: PIPEOPS_TEST_RESTART is not set");
        return;
    };
    rig.create_pod("remains");
    rig.event("pod_ready", "remains").await;
    rig.events.clear();
    let mut child = Command::new("bash").arg("-c").arg(command).spawn().unwrap();
    let status = rig
        .status("unhealthy", |status| status.health == Health::Unhealthy)
        .await;
    assert!(status.reasons[0].contains("does not answer"), "{status:?}");
    rig.status("healthy again", |status| status.health == Health::Healthy)
        .await;
    assert!(child.wait().unwrap().success());
    rig.create_pod("after");
    rig.event("pod_created", "after").await;
    let told_twice = rig
        .events
        .iter()
        .any(|event| event.event_type == "pod_created" && event.resource == "remains");
    assert!(!told_twice);
}
