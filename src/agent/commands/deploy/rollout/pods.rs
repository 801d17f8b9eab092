//! Why a workload is not ready, by the pods of its current revision.

use kube::api::ListParams;
use serde_json::Value;

use super::super::calls::Calls;
use super::super::item::Item;
use super::judge::{condition, told};

/// Pods that are looked at: what is wrong with one is mostly wrong with all.
const PODS: u32 = 20;

/// Replica sets that are looked at, and events: a deployment keeps ten revisions by default.
const OTHERS: u32 = 50;

/// In Kubernetes' words; none where it has none, or does not answer: then there is what the status says.
pub(super) async fn reason(calls: &Calls<'_>, item: &Item, object: &Value) -> Option<String> {
    let namespace = item.namespace.as_deref()?;
    match (item.resource.group.as_str(), item.resource.kind.as_str()) {
        ("", "Pod") => why(object),
        ("apps", "Deployment") => of_deployment(calls, namespace, object).await,
        ("apps", "StatefulSet") => {
            let revision = &object["status"]["updateRevision"];
            let current = ("controller-revision-hash", revision.as_str());
            of_workload(calls, namespace, object, current).await
        }
        ("apps", "DaemonSet") => {
            let annotations = &object["metadata"]["annotations"];
            let generation = annotations["deprecated.daemonset.template.generation"].as_str();
            of_workload(
                calls,
                namespace,
                object,
                ("pod-template-generation", generation),
            )
            .await
        }
        ("apps", "ReplicaSet") | ("", "ReplicationController") | ("batch", "Job") => {
            of_workload(calls, namespace, object, ("", None)).await
        }
        _ => None,
    }
}

/// A deployment's pods are those of the replica set of its revision.
async fn of_deployment(calls: &Calls<'_>, namespace: &str, object: &Value) -> Option<String> {
    const REVISION: &str = "deployment.kubernetes.io/revision";
    let params = ListParams::default()
        .labels(&selector(object)?)
        .limit(OTHERS);
    let path = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
    let list = calls.list(&path, &params).await.ok()?;
    let revision = |of: &Value| of["metadata"]["annotations"][REVISION].clone();
    let current = list["items"]
        .as_array()?
        .iter()
        .find(|set| is_owned(set, object) && revision(set) == revision(object))?;
    let failure = condition(current, "ReplicaFailure").filter(|c| c["status"] == "True");
    match failure {
        Some(failure) => Some(told(failure)),
        None => of_workload(calls, namespace, current, ("", None)).await,
    }
}

/// The pods that a workload owns and that have the label `current`; where there are none, its events.
async fn of_workload(
    calls: &Calls<'_>,
    namespace: &str,
    object: &Value,
    current: (&str, Option<&str>),
) -> Option<String> {
    let mut labels = selector(object)?;
    if let (name, Some(value)) = current {
        labels += &format!(",{name}={value}");
    }
    let params = ListParams::default().labels(&labels).limit(PODS);
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let list = calls.list(&path, &params).await.ok()?;
    let mut pods = list["items"]
        .as_array()?
        .iter()
        .filter(|pod| is_owned(pod, object))
        .peekable();
    match pods.peek() {
        Some(_) => pods.find_map(named),
        None => of_events(calls, namespace, object).await,
    }
}

/// The last warning about an object: controllers other than a deployment's tell there why they make no pod.
async fn of_events(calls: &Calls<'_>, namespace: &str, object: &Value) -> Option<String> {
    let uid = object["metadata"]["uid"].as_str()?;
    let fields = format!("involvedObject.uid={uid},type=Warning");
    let params = ListParams::default().fields(&fields).limit(OTHERS);
    let path = format!("/api/v1/namespaces/{namespace}/events");
    let list = calls.list(&path, &params).await.ok()?;
    let events = list["items"].as_array()?.iter();
    let last = events.max_by_key(|event| event["lastTimestamp"].as_str().unwrap_or_default());
    last.map(told)
}

fn selector(object: &Value) -> Option<String> {
    let spec = &object["spec"]["selector"];
    // That of a ReplicationController is its labels.
    let labels = spec.get("matchLabels").unwrap_or(spec).as_object()?;
    let pairs = labels
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?)));
    let all: Vec<_> = pairs.collect();
    // Without, it would be all pods of the namespace.
    (!all.is_empty()).then(|| all.join(","))
}

fn is_owned(pod: &Value, owner: &Value) -> bool {
    let uid = &owner["metadata"]["uid"];
    let owners = pod["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|owners| owners.iter().any(|reference| reference["uid"] == *uid))
}

fn named(pod: &Value) -> Option<String> {
    let name = pod["metadata"]["name"].as_str()?;
    Some(format!("pod {name}: {}", why(pod)?))
}

/// What keeps a pod from being ready.
pub(super) fn why(pod: &Value) -> Option<String> {
    let status = &pod["status"];
    if let Some(scheduled) = condition(pod, "PodScheduled")
        && scheduled["status"] == "False"
    {
        return Some(told(scheduled));
    }
    let containers = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|kind| status[kind].as_array().into_iter().flatten());
    if let Some(reason) = containers.clone().find_map(of_container) {
        return Some(reason);
    }
    if status["reason"].is_string() {
        return Some(told(status));
    }
    let mut running = containers.filter(|container| container["state"]["running"].is_object());
    let unready = running.find(|container| container["ready"] == Value::Bool(false))?;
    let name = unready["name"].as_str().unwrap_or_default();
    Some(format!("container {name} runs and is not ready yet"))
}

/// What is wrong with a container; that it is about to start is not.
fn of_container(status: &Value) -> Option<String> {
    let name = status["name"].as_str().unwrap_or_default();
    let waiting = &status["state"]["waiting"];
    match waiting["reason"].as_str() {
        None | Some("ContainerCreating" | "PodInitializing") => {}
        Some(_) => {
            let last = ended(&status["lastState"]["terminated"]);
            let last = last.map_or_else(String::new, |last| format!(" (before: {last})"));
            return Some(format!("container {name}: {}{last}", told(waiting)));
        }
    }
    let ended = ended(&status["state"]["terminated"])?;
    Some(format!("container {name}: {ended}"))
}

/// How a container ended, where it is no success.
fn ended(terminated: &Value) -> Option<String> {
    let code = terminated["exitCode"].as_i64().filter(|code| *code != 0)?;
    Some(format!("{}, exit code {code}", told(terminated)))
}
