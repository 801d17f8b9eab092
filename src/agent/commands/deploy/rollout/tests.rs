use kube::core::ApiResource;
use serde_json::{Value, json};

use super::pods::why;
use super::*;

fn state(group: &str, kind: &str, object: Value) -> State {
    let resource = ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: format!("{group}/v1"),
        kind: kind.to_owned(),
        plural: format!("{}s", kind.to_lowercase()),
    };
    judge(&resource, &object)
}

/// A workload that was applied as generation 2 with 3 replicas.
fn workload(kind: &str, spec: Value, status: Value) -> State {
    let mut object = json!({"metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": {"observedGeneration": 2}});
    for (part, more) in [("spec", spec), ("status", status)] {
        for (name, value) in more.as_object().unwrap() {
            object[part][name] = value.clone();
        }
    }
    state("apps", kind, object)
}

fn waits(state: &State, for_what: &str) {
    assert!(
        matches!(state, State::Waiting(words) if words.contains(for_what)),
        "{state:?}"
    );
}

#[test]
fn a_deployment_rolls_out() {
    let deployment = |status| workload("Deployment", json!({}), status);
    waits(
        &deployment(
            json!({"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
        ),
        "not yet seen",
    );
    waits(
        &deployment(json!({"updatedReplicas": 1})),
        "1 of 3 new pods are made",
    );
    waits(
        &deployment(json!({"replicas": 4, "updatedReplicas": 3})),
        "1 old pods",
    );
    waits(
        &deployment(json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 2})),
        "2 of 3",
    );
    let ready = json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3});
    assert_eq!(deployment(ready), State::Ready(None));
    let quota = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]});
    waits(&deployment(quota), "FailedCreate: exceeded quota");
    let late = json!({"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "has timed out progressing"}]});
    assert!(
        matches!(deployment(late), State::Failed(why) if why.contains("timed out progressing"))
    );
    let paused = workload("Deployment", json!({"paused": true}), json!({}));
    assert!(matches!(paused, State::Ready(Some(_))));
    let none = workload("Deployment", json!({"replicas": 0}), json!({}));
    assert_eq!(none, State::Ready(None));
}

#[test]
fn a_stateful_set_rolls_out_above_its_partition() {
    let rolling = |partition: u64| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}}});
    let status = |updated: u64, ready: u64| {
        json!({"updatedReplicas": updated, "readyReplicas": ready, "availableReplicas": ready,
            "currentRevision": "a", "updateRevision": "b"})
    };
    let of = |spec, status| workload("StatefulSet", spec, status);
    waits(&of(rolling(0), status(1, 3)), "1 of 3 pods are new");
    waits(&of(rolling(0), status(3, 2)), "2 of 3");
    waits(&of(rolling(0), status(3, 3)), "last pods");
    assert_eq!(of(rolling(2), status(1, 3)), State::Ready(None));
    waits(&of(rolling(2), status(0, 3)), "0 of 1");
    let by_hand = json!({"updateStrategy": {"type": "OnDelete"}});
    assert!(matches!(of(by_hand, status(0, 3)), State::Ready(Some(_))));
}

#[test]
fn daemon_sets_and_replica_sets() {
    let daemon = |updated: u64, available: u64| {
        let status = json!({"desiredNumberScheduled": 2, "updatedNumberScheduled": updated, "numberAvailable": available});
        workload("DaemonSet", json!({}), status)
    };
    waits(&daemon(1, 2), "1 of 2 pods are new");
    waits(&daemon(2, 1), "1 of 2 pods are available");
    assert_eq!(daemon(2, 2), State::Ready(None));
    waits(&workload("ReplicaSet", json!({}), json!({})), "0 of 3");
}

#[test]
fn jobs_end() {
    let job = |status| state("batch", "Job", json!({"spec": {}, "status": status}));
    waits(&job(json!({"active": 1})), "1 pods run");
    let ended = |kind| json!({"conditions": [{"type": kind, "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}]});
    assert_eq!(job(ended("Complete")), State::Ready(None));
    assert_eq!(
        job(ended("Failed")),
        State::Failed("BackoffLimitExceeded: m".to_owned())
    );
    let suspended = state("batch", "Job", json!({"spec": {"suspend": true}}));
    assert!(matches!(suspended, State::Ready(Some(_))));
}

#[test]
fn pods_and_the_rest() {
    let pod = |status| state("", "Pod", json!({"status": status}));
    waits(&pod(json!({})), "Pending");
    assert_eq!(pod(json!({"phase": "Succeeded"})), State::Ready(None));
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    assert_eq!(pod(ready), State::Ready(None));
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"});
    assert_eq!(
        pod(evicted),
        State::Failed("Evicted: low on memory".to_owned())
    );
    assert_eq!(state("", "ConfigMap", json!({})), State::Ready(None));
    // A custom resource that happens to be called like one of Kubernetes' own.
    assert_eq!(
        state("example.com", "Deployment", json!({})),
        State::Ready(None)
    );
}

#[test]
fn what_keeps_a_pod_is_said_in_kubernetes_words() {
    let pod = |status: Value| why(&json!({"status": status}));
    let unschedulable = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]});
    assert_eq!(pod(unschedulable).unwrap(), "Unschedulable: 0/3 nodes");
    let pulling = json!({"containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}]});
    assert_eq!(
        pod(pulling).unwrap(),
        "container app: ImagePullBackOff: no such image"
    );
    let crashing = json!({"containerStatuses": [{"name": "app",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}]});
    assert_eq!(
        pod(crashing).unwrap(),
        "container app: CrashLoopBackOff (before: OOMKilled, exit code 137)"
    );
    let starting = json!({"containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "ContainerCreating"}}}]});
    assert_eq!(pod(starting), None);
    let unready =
        json!({"containerStatuses": [{"name": "app", "ready": false, "state": {"running": {}}}]});
    assert!(pod(unready).unwrap().contains("not ready"));
    assert_eq!(pod(json!("?")), None);
}

#[test]
fn the_first_that_is_waited_for_is_named() {
    let status = |name: &str, ready| ObjectStatus {
        object: crate::wire::control::ObjectRef {
            kind: "Job".to_owned(),
            name: name.to_owned(),
            ..Default::default()
        },
        action: None,
        ready,
        reason: Some("busy".to_owned()),
    };
    let all = [status("a", true), status("b", false), status("c", false)];
    assert_eq!(waits_for(&all), "Job 'b': busy (and 1 more objects)");
    assert_eq!(waits_for(&all[..1]), "");
}
