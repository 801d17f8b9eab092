//! What changes of pods are told, and that the sums are right after any of them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A pod of one container, with this status.
fn pod(name: &str, node: Option<&str>, status: Value) -> SlimPod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"skipped": "yes"}, "managedFields": [{"manager": "skipped"}]},
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "my-app:v1.0.0",
            "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}}}]},
        "status": status,
    }))
    .unwrap()
}

fn phase(name: &str, phase: &str) -> SlimPod {
    pod(name, Some("node-1"), json!({"phase": phase}))
}

fn ready(name: &str, ready: &str) -> SlimPod {
    let condition =
        json!({"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:07Z"});
    pod(
        name,
        Some("node-1"),
        json!({"phase": "Running", "conditions": [condition]}),
    )
}

fn container(restarts: u32, state: Value, last: Value) -> SlimPod {
    let status =
        json!({"name": "app", "restartCount": restarts, "state": state, "lastState": last});
    pod(
        "web",
        Some("node-1"),
        json!({"phase": "Running", "containerStatuses": [status]}),
    )
}

fn listed(pods: &[SlimPod]) -> Pods {
    let (mut all, mut found) = (Pods::default(), Vec::new());
    all.begin();
    for pod in pods {
        all.see(pod, &mut found);
    }
    while all.sweep(&mut found) {}
    assert_eq!(found, [], "what was there before is no news");
    all
}

fn see(pods: &mut Pods, pod: &SlimPod) -> Vec<Happening> {
    let mut found = Vec::new();
    pods.see(pod, &mut found);
    news(found)
}

fn news(found: Vec<Found>) -> Vec<Happening> {
    let news = found.into_iter().filter_map(|found| match found {
        Found::New(happening) => Some(happening),
        Found::Placed { .. } => None,
    });
    news.collect()
}

fn kinds(happenings: &[Happening]) -> Vec<EventType> {
    happenings
        .iter()
        .map(|happening| happening.key.kind)
        .collect()
}

#[test]
fn a_pod_is_created_placed_ready_and_deleted() {
    let (mut pods, mut found) = (listed(&[]), Vec::new());
    pods.see(&pod("web", None, json!({"phase": "Pending"})), &mut found);
    pods.see(&phase("web", "Pending"), &mut found);
    let placed = Found::Placed {
        namespace: "shop".into(),
        pod: "web".into(),
        node: "node-1".into(),
    };
    assert_eq!(found.pop(), Some(placed));
    let created = news(found).pop().unwrap().into_event();
    let expected = json!({"event_type": "pod_created", "namespace": "shop", "resource": "web",
        "details": {"image": "my-app:v1.0.0"}, "occurred_at": "2026-01-01T00:00:00Z"});
    assert_eq!(serde_json::to_value(created).unwrap(), expected);

    let ready = see(&mut pods, &ready("web", "True"))
        .pop()
        .unwrap()
        .into_event();
    let expected = json!({"event_type": "pod_ready", "namespace": "shop", "resource": "web",
        "details": {"image": "my-app:v1.0.0", "node": "node-1"}, "occurred_at": "2026-01-01T00:00:07Z"});
    assert_eq!(serde_json::to_value(ready).unwrap(), expected);
    assert_eq!((pods.count(), pods.running()), (1, 1));

    let mut found = Vec::new();
    pods.gone(&phase("web", "Running"), &mut found);
    pods.gone(&phase("web", "Running"), &mut found);
    let deleted = news(found);
    assert_eq!(kinds(&deleted), [EventType::PodDeleted]);
    assert_eq!(deleted[0].details["node"], "node-1");
    assert_eq!(
        (pods.count(), pods.running(), pods.requested()),
        (0, 0, Amount::default())
    );
}

#[test]
fn readiness_that_does_not_change_is_no_news() {
    let mut pods = listed(&[ready("web", "True")]);
    assert_eq!(see(&mut pods, &ready("web", "True")), []);
    assert_eq!(see(&mut pods, &ready("web", "False")), []);
    assert_eq!(
        kinds(&see(&mut pods, &ready("web", "True"))),
        [EventType::PodReady]
    );
}

#[test]
fn a_failed_pod_says_why() {
    let mut pods = listed(&[phase("web", "Running"), phase("job", "Running")]);
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
    let told = see(&mut pods, &pod("web", Some("node-1"), evicted.clone()));
    assert_eq!(kinds(&told), [EventType::PodFailed]);
    assert_eq!(told[0].details["reason"], "Evicted");
    assert_eq!(see(&mut pods, &pod("web", Some("node-1"), evicted)), []);
    let ended = json!({"phase": "Failed", "containerStatuses": [
        {"name": "good", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
        {"name": "bad", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:00:09Z"}}}]});
    let told = see(&mut pods, &pod("job", Some("node-1"), ended));
    let details = &told[0].details;
    assert_eq!(
        (
            &details["reason"],
            &details["container"],
            &details["exit_code"]
        ),
        (&json!("OOMKilled"), &json!("bad"), &json!(137))
    );
}

#[test]
fn restarts_are_told_with_their_reason() {
    let ended = |reason: &str| json!({"terminated": {"exitCode": 1, "reason": reason, "finishedAt": "2026-01-01T00:00:09Z"}});
    let looping = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let mut pods = listed(&[container(1, json!({}), json!({}))]);
    let first = see(&mut pods, &container(2, json!({}), ended("Error")));
    assert_eq!(kinds(&first), [EventType::ContainerRestarted]);
    assert_eq!(
        (&first[0].details["reason"], first[0].count),
        (&json!("Error"), 1)
    );
    assert_eq!(
        see(&mut pods, &container(2, looping.clone(), ended("Error"))),
        []
    );
    let second = see(&mut pods, &container(4, json!({}), ended("Error")));
    let details = &second[0].details;
    assert_eq!(
        (&details["reason"], second[0].count),
        (&json!("CrashLoopBackOff"), 2)
    );
    assert_eq!(
        (&details["restarts"], &details["container"]),
        (&json!(4), &json!("app"))
    );
    let third = see(&mut pods, &container(5, looping, ended("OOMKilled")));
    assert_eq!(third[0].details["reason"], "OOMKilled");
}

#[test]
fn a_list_that_is_read_again_tells_what_differs() {
    let mut pods = listed(&[
        phase("stays", "Running"),
        phase("goes", "Running"),
        phase("fails", "Running"),
    ]);
    let mut found = Vec::new();
    pods.begin();
    for pod in [
        phase("stays", "Running"),
        phase("fails", "Failed"),
        ready("comes", "True"),
    ] {
        pods.see(&pod, &mut found);
    }
    while pods.sweep(&mut found) {}
    let told = news(found);
    let told: Vec<_> = told
        .iter()
        .map(|told| (told.key.kind, told.key.resource.as_str()))
        .collect();
    let expected = [
        (EventType::PodFailed, "fails"),
        (EventType::PodCreated, "comes"),
        (EventType::PodReady, "comes"),
        (EventType::PodDeleted, "goes"),
    ];
    assert_eq!(told, expected);
    assert_eq!((pods.count(), pods.running()), (3, 2));
}

#[test]
fn a_record_is_small() {
    assert!(
        size_of::<(u128, (u32, Pod))>() <= 144,
        "{}",
        size_of::<(u128, (u32, Pod))>()
    );
}

#[derive(Debug, Clone)]
enum Step {
    See(u8, u8, bool),
    Gone(u8),
    List(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..8_u8, 0..4_u8, any::<bool>()).prop_map(|(name, phase, placed)| Step::See(name, phase, placed)),
        2 => (0..8_u8).prop_map(Step::Gone),
        1 => prop::collection::vec(0..8_u8, 0..8).prop_map(Step::List),
    ];
    prop::collection::vec(step, 0..60)
}

fn made(name: u8, phase: u8, placed: bool) -> SlimPod {
    let phase = ["Pending", "Running", "Succeeded", "Failed"][usize::from(phase)];
    pod(
        &name.to_string(),
        placed.then_some("n"),
        json!({"phase": phase}),
    )
}

proptest! {
    /// Sums that are kept up agree with sums that are made anew, and creations less deletions with what is there.
    #[test]
    fn sums_stay_right(steps in steps()) {
        let (mut pods, mut found) = (listed(&[]), Vec::new());
        for step in steps {
            match step {
                Step::See(name, phase, placed) => pods.see(&made(name, phase, placed), &mut found),
                Step::Gone(name) => pods.gone(&made(name, 0, false), &mut found),
                Step::List(names) => {
                    pods.begin();
                    names.into_iter().for_each(|name| pods.see(&made(name, 1, true), &mut found));
                    while pods.sweep(&mut found) {}
                }
            }
            let running = pods.pods.iter().filter(|pod| pod.phase == Phase::Running).count();
            let requested = pods.pods.iter().map(Pod::counted).fold(Amount::default(), Amount::plus);
            prop_assert_eq!(pods.running(), u64::try_from(running).unwrap());
            prop_assert_eq!(pods.requested(), requested);
        }
        let told = news(found);
        let of = |kind| told.iter().filter(|told| told.key.kind == kind).count();
        prop_assert_eq!(of(EventType::PodCreated) - of(EventType::PodDeleted), pods.count());
    }
}
