//! What 5,000 nodes, 100,000 pods, 10,000 services and 20,000 warnings cost, read as the API server writes them.

use std::fs;
use std::time::Duration;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Shared;
use super::cache::Cache;
use super::core::{Core, Kept, News, Seen};
use super::meters::{Meters, Watched};
use super::nodes::Nodes;
use super::pods::Pods;
use super::queue::MAX_WAITING;
use super::services::Services;
use super::warnings::Warnings;
use super::watch::keep;
use crate::metrics::Registry;

const NODES: usize = 5_000;
const PODS: usize = 100_000;
const SERVICES: usize = 10_000;
const WARNINGS: usize = 20_000;

/// The stated memory, in MiB: at rest, and while all is listed again by pages.
const STATED: usize = 48;

/// And where every pod was replaced by another while the watch was down.
const STATED_REPLACED: usize = 80;

/// The process's resident memory in KiB, by the kernel's word for it.
fn resident(word: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(word)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn metadata(kind: u32, n: usize, namespace: &str, name: &str) -> Value {
    json!({"name": name, "namespace": namespace, "uid": format!("{kind:08x}-0000-4000-8000-{n:012x}"),
        "resourceVersion": n.to_string(), "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app.kubernetes.io/name": "web", "pod-template-hash": "5d59d67564"},
        "managedFields": [{"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:status": {"f:phase": {}, "f:conditions": {}}}}]})
}

fn pod(n: usize) -> Value {
    let namespace = format!("team-{}", n % 500);
    let metadata = metadata(
        1,
        n,
        &namespace,
        &format!("checkout-service-5d59d67564-{n:05}"),
    );
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata,
        "spec": {"nodeName": format!("ip-10-0-{}-{}.eu-west-1.compute.internal", n % NODES / 256, n % 256),
            "containers": [{"name": "app", "image": format!("registry.example.com/shop/checkout:v1.{}", n % 2000),
                "env": [{"name": "A", "value": "b"}], "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}}}]},
        "status": {"phase": "Running", "podIP": "10.1.2.3", "conditions": [condition("Ready"), condition("PodScheduled")],
            "containerStatuses": [{"name": "app", "restartCount": n % 3, "ready": true, "state": {"running": {}}, "lastState": {}}]}})
}

fn node(n: usize) -> Value {
    let name = format!("ip-10-0-{}-{}.eu-west-1.compute.internal", n / 256, n % 256);
    let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    json!({"metadata": metadata(2, n, "", &name), "status": {"allocatable": {"cpu": "16", "memory": "64Gi"}, "conditions": [ready]}})
}

fn warning(n: usize) -> Value {
    json!({"metadata": metadata(4, n, "shop", &format!("w-{n}")), "type": "Warning", "reason": "BackOff", "message": "m".repeat(200),
        "involvedObject": {"kind": "Pod", "namespace": "shop", "name": format!("web-{n}")}, "count": 1, "lastTimestamp": "2026-01-01T00:00:00Z"})
}

fn list<C: Kept>(core: &mut Core, count: usize, make: fn(usize) -> Value)
where
    C::Object: DeserializeOwned,
{
    let now = Instant::now();
    core.learn::<C>(News::Begin, now);
    for n in 0..count {
        let text = make(n).to_string();
        let object: C::Object = serde_json::from_str(&text).unwrap();
        core.learn::<C>(News::See(object), now);
    }
    core.learn::<C>(News::Complete, now);
}

fn list_all(core: &mut Core) {
    list::<Nodes>(core, NODES, node);
    list::<Pods>(core, PODS, pod);
    list::<Services>(
        core,
        SERVICES,
        |n| json!({"metadata": metadata(3, n, "shop", &format!("s-{n}"))}),
    );
    list::<Warnings>(core, WARNINGS, warning);
}

/// The pods as a server gives them by pages of 500, whatever is asked for; the number of the next one is its token.
fn server() -> Client {
    let service = tower::service_fn(|request: Request<Body>| {
        let query = request.uri().query().unwrap_or_default().to_owned();
        async move {
            if query.contains("watch=true") {
                return std::future::pending().await;
            }
            let token = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("continue="));
            let from: usize = token.map_or(0, |token| token.parse().unwrap());
            let to = (from + 500).min(PODS);
            let next = if to < PODS {
                to.to_string()
            } else {
                String::new()
            };
            let items: Vec<_> = (from..to).map(pod).collect();
            let list = json!({"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7", "continue": next}, "items": items});
            Ok::<_, tower::BoxError>(Response::new(Body::from(list.to_string().into_bytes())))
        }
    });
    Client::new(service, "default")
}

/// Lists the pods again, as after a watch that has expired.
async fn list_pages(shared: &Shared) {
    let client = server();
    let reads = keep::<Pods>(shared, &client, false);
    let read = async {
        shared.core.borrow_mut().note(Watched::Pods, Seen::Nothing);
        while *shared.core.borrow().seen(Watched::Pods) != Seen::All {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        why = reads => panic!("{why}"),
        () = read => {}
    }
}

#[tokio::test]
#[ignore = "measures the memory of the whole process: to be run alone"]
async fn a_large_cluster_costs_what_is_stated() {
    let shared = Shared::new(Meters::new(&mut Registry::new("test")).unwrap().into());
    let before = resident("VmRSS:");
    list_all(&mut shared.core.borrow_mut());
    let rest = resident("VmRSS:") - before;
    list_pages(&shared).await;
    let again = resident("VmHWM:") - before;
    assert_eq!(shared.core.borrow().pods.count(), PODS);
    // While the watch was down, everything was rolled out anew: as many new pods as old ones, and a full queue.
    list::<Pods>(&mut shared.core.borrow_mut(), PODS, |n| pod(n + PODS));
    let replaced = resident("VmHWM:") - before;
    eprintln!(
        "{NODES} nodes, {PODS} pods, {SERVICES} services, {WARNINGS} warnings: {} MiB; at most {} MiB while they are \
         listed again by pages; {} MiB when every pod has been replaced by another meanwhile",
        rest / 1024,
        again / 1024,
        replaced / 1024
    );
    assert_eq!(shared.core.borrow().queue.len(), MAX_WAITING);
    assert!(again / 1024 <= STATED, "{again} KiB");
    assert!(replaced / 1024 <= STATED_REPLACED, "{replaced} KiB");
}
