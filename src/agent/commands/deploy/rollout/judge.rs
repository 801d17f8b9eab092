//! Whether an object does what it is for, by its own status.
//!
//! As `kubectl rollout status` sees it, and more kinds. What has no status to speak of is ready at once:
//! also claims for volumes, which may wait for their first pod, load balancers, autoscalers, and
//! custom resources, whose conditions mean what their controllers want.

use kube::core::ApiResource;
use serde_json::Value;

/// How far an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum State {
    /// As it should be; sometimes with a word.
    Ready(Option<String>),
    /// Not yet, and what is missing.
    Waiting(String),
    /// It will not be, in Kubernetes' words.
    Failed(String),
}

impl State {
    const READY: Self = Self::Ready(None);

    fn waiting(message: impl Into<String>) -> Self {
        Self::Waiting(message.into())
    }

    /// What there is to say.
    pub(in super::super) fn words(self) -> Option<String> {
        match self {
            Self::Ready(words) => words,
            Self::Waiting(words) | Self::Failed(words) => Some(words),
        }
    }
}

/// Judges an object as the API server gives it.
pub(in super::super) fn judge(resource: &ApiResource, object: &Value) -> State {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("apps", "Deployment") => observed(object).unwrap_or_else(|| deployment(object)),
        ("apps", "StatefulSet") => observed(object).unwrap_or_else(|| stateful_set(object)),
        ("apps", "DaemonSet") => observed(object).unwrap_or_else(|| daemon_set(object)),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            observed(object).unwrap_or_else(|| replicas_available(object))
        }
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        _ => State::READY,
    }
}

/// Whether its controller has yet to see what was applied.
fn observed(object: &Value) -> Option<State> {
    let seen = number(object, "/status/observedGeneration").unwrap_or(0);
    let unseen = seen < number(object, "/metadata/generation").unwrap_or(0);
    unseen.then(|| State::waiting("its controller has not yet seen what was applied"))
}

fn deployment(object: &Value) -> State {
    if object["spec"]["paused"] == Value::Bool(true) {
        return State::Ready(Some("it is paused (spec.paused)".to_owned()));
    }
    if let Some(progress) = condition(object, "Progressing")
        && progress["reason"] == "ProgressDeadlineExceeded"
    {
        return State::Failed(told(progress));
    }
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let status = |name: &str| number(&object["status"], name).unwrap_or(0);
    let (all, updated, available) = (
        status("/replicas"),
        status("/updatedReplicas"),
        status("/availableReplicas"),
    );
    if updated < wanted {
        let failure = condition(object, "ReplicaFailure").filter(|c| c["status"] == "True");
        return State::Waiting(match failure {
            Some(failure) => told(failure),
            None => format!("{updated} of {wanted} new pods are made"),
        });
    }
    if all > updated {
        return State::Waiting(format!("{} old pods are still to end", all - updated));
    }
    if available < updated {
        return State::Waiting(format!("{available} of {updated} new pods are available"));
    }
    State::READY
}

fn stateful_set(object: &Value) -> State {
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let status = |name: &str| number(&object["status"], name).unwrap_or(0);
    let strategy = &object["spec"]["updateStrategy"];
    let by_hand = strategy["type"] == "OnDelete";
    let partition = number(strategy, "/rollingUpdate/partition").unwrap_or(0);
    let ready = status("/readyReplicas").min(status("/availableReplicas"));
    let updated = status("/updatedReplicas");
    let to_update = wanted.saturating_sub(partition);
    if !by_hand && updated < to_update {
        return State::Waiting(format!("{updated} of {to_update} pods are new"));
    }
    if ready < wanted {
        return State::Waiting(format!("{ready} of {wanted} pods are available"));
    }
    let revisions = [
        &object["status"]["currentRevision"],
        &object["status"]["updateRevision"],
    ];
    if !by_hand && partition == 0 && revisions[0] != revisions[1] {
        return State::waiting("the last pods are being replaced");
    }
    State::Ready(
        by_hand.then(|| "its pods are replaced when they are deleted (OnDelete)".to_owned()),
    )
}

fn daemon_set(object: &Value) -> State {
    let status = |name: &str| number(&object["status"], name).unwrap_or(0);
    let wanted = status("/desiredNumberScheduled");
    let by_hand = object["spec"]["updateStrategy"]["type"] == "OnDelete";
    let (updated, available) = (
        status("/updatedNumberScheduled"),
        status("/numberAvailable"),
    );
    if !by_hand && updated < wanted {
        return State::Waiting(format!("{updated} of {wanted} pods are new"));
    }
    if available < wanted {
        return State::Waiting(format!("{available} of {wanted} pods are available"));
    }
    State::READY
}

fn replicas_available(object: &Value) -> State {
    let wanted = number(object, "/spec/replicas").unwrap_or(1);
    let available = number(object, "/status/availableReplicas").unwrap_or(0);
    if available >= wanted {
        return State::READY;
    }
    let failure = condition(object, "ReplicaFailure").filter(|c| c["status"] == "True");
    State::Waiting(match failure {
        Some(failure) => told(failure),
        None => format!("{available} of {wanted} pods are available"),
    })
}

fn job(object: &Value) -> State {
    let holds = |kind: &str| condition(object, kind).filter(|c| c["status"] == "True");
    if holds("Complete").is_some() {
        return State::READY;
    }
    if let Some(failed) = holds("Failed").or_else(|| holds("FailureTarget")) {
        return State::Failed(told(failed));
    }
    if object["spec"]["suspend"] == Value::Bool(true) {
        return State::Ready(Some("it is suspended (spec.suspend)".to_owned()));
    }
    let status = |name: &str| number(&object["status"], name).unwrap_or(0);
    let (active, done, failed) = (status("/active"), status("/succeeded"), status("/failed"));
    State::Waiting(format!(
        "{active} pods run, {done} have succeeded, {failed} have failed"
    ))
}

fn pod(object: &Value) -> State {
    let phase = object["status"]["phase"].as_str().unwrap_or("Pending");
    match phase {
        "Succeeded" => State::READY,
        "Failed" => {
            State::Failed(super::pods::why(object).unwrap_or_else(|| told(&object["status"])))
        }
        _ if condition(object, "Ready").is_some_and(|c| c["status"] == "True") => State::READY,
        _ => State::Waiting(format!("it is {phase}")),
    }
}

/// A condition of an object's status.
pub(in super::super) fn condition<'object>(
    object: &'object Value,
    kind: &str,
) -> Option<&'object Value> {
    let all = object["status"]["conditions"].as_array()?;
    all.iter().find(|condition| condition["type"] == kind)
}

/// `Reason: message`, of what has both.
pub(super) fn told(value: &Value) -> String {
    let text = |name: &str| value[name].as_str().filter(|text| !text.is_empty());
    match (text("reason"), text("message")) {
        (Some(reason), Some(message)) => format!("{reason}: {message}"),
        (Some(only), None) | (None, Some(only)) => only.to_owned(),
        (None, None) => "Kubernetes does not say why".to_owned(),
    }
}

fn number(value: &Value, path: &str) -> Option<u64> {
    value.pointer(path)?.as_u64()
}
