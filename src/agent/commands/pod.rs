//! What `exec` and `logs` both need to know of pods: names that are names, which container, and what Kubernetes' refusals
//! are called in the contract.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use kube::Api;
use kube::core::Status;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::agent::cluster::innermost;
use crate::wire::control::CommandError;
use crate::wire::error::ErrorCode;

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

/// The annotation by which a pod says which container is meant where none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// How long the API server may take to tell of a pod.
const ANSWER: Duration = Duration::from_secs(10);

/// Characters of a name in Kubernetes (RFC 1123 subdomain).
const MAX_NAME: usize = 253;

pub(super) fn failure(code: ErrorCode, message: impl Into<String>) -> CommandError {
    CommandError {
        code: code.as_str().to_owned(),
        message: message.into(),
        ..CommandError::default()
    }
}

/// Whether namespace and pod are names. They become parts of a path: nothing else than a name may reach it, or the policy
/// about namespaces could be talked round.
///
/// # Errors
/// `INVALID_REQUEST`
pub(super) fn check_names(namespace: &str, pod: &str) -> Result<(), CommandError> {
    for (field, name) in [("namespace", namespace), ("pod", pod)] {
        if !is_name(name) {
            let mut error = failure(
                ErrorCode::InvalidRequest,
                format!("'{}' is not the name of a {field}", name.escape_debug()),
            );
            error.details.insert("field".to_owned(), field.into());
            return Err(error);
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= MAX_NAME
        && name
            .split('.')
            .all(|part| part.bytes().all(|byte| inner(byte) || byte == b'-'))
        && name.bytes().next().is_some_and(inner)
        && name.bytes().next_back().is_some_and(inner)
}

/// A request to the API server that did not succeed.
pub(super) fn refused(error: &kube::Error) -> CommandError {
    if let kube::Error::Api(status) = error {
        return by_status(status);
    }
    let is_ours = matches!(
        error,
        kube::Error::BuildRequest(_) | kube::Error::HttpError(_)
    );
    let (code, what) = if is_ours {
        (
            ErrorCode::InvalidRequest,
            "the command cannot be put to the API server",
        )
    } else if matches!(error, kube::Error::UpgradeConnection(_)) {
        (
            ErrorCode::TargetFailed,
            "the API server, or a proxy in front of it, did not open a WebSocket",
        )
    } else {
        (ErrorCode::TargetRefused, "the API server does not answer")
    };
    failure(code, format!("{what}: {}", innermost(error)))
}

/// Kubernetes' refusal, in its own words.
pub(super) fn by_status(status: &Status) -> CommandError {
    let code = match status.code {
        // Kubelets and the API server have no better codes for these.
        _ if is_missing(&status.message) => ErrorCode::NotFound,
        _ if status.message.contains("is waiting to start") => ErrorCode::Unavailable,
        400 | 405 | 415 | 422 => ErrorCode::InvalidRequest,
        401 => ErrorCode::Unauthorized,
        403 => ErrorCode::Forbidden,
        404 | 410 => ErrorCode::NotFound,
        409 => ErrorCode::Conflict,
        413 => ErrorCode::PayloadTooLarge,
        429 => ErrorCode::TooManyRequests,
        503 => ErrorCode::Unavailable,
        504 => ErrorCode::TargetTimedOut,
        _ => ErrorCode::TargetFailed,
    };
    let mut details = Map::new();
    if !status.reason.is_empty() {
        details.insert("reason".to_owned(), status.reason.clone().into());
    }
    if status.code != 0 {
        details.insert("status".to_owned(), Value::from(status.code));
    }
    let message = if status.message.is_empty() {
        format!("the API server answered {} {}", status.code, status.reason)
    } else {
        status.message.clone()
    };
    CommandError {
        code: code.as_str().to_owned(),
        message,
        details,
    }
}

/// Whether something does not exist, by what the API server, kubelets and the runtimes say of containers and programs.
fn is_missing(message: &str) -> bool {
    const SAYINGS: [&str; 4] = [
        "is not valid for pod",
        "container not found",
        "executable file not found",
        "no such file or directory",
    ];
    SAYINGS.iter().any(|saying| message.contains(saying))
}

/// Whether the API server wants to be told which container.
pub(super) fn is_ambiguous(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if status.code == 400 && status.message.contains("container name must be specified"))
}

/// The container that a pod says is meant where none is named.
pub(super) async fn default_container(pods: &Api<Pod>, name: &str) -> Option<String> {
    let pod = timeout(ANSWER, pods.get(name)).await.ok()?.ok()?;
    pod.metadata
        .annotations?
        .remove(DEFAULT_CONTAINER)
        .filter(|container| is_name(container))
}

/// A container as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    /// Another one after each restart.
    pub(super) id: String,
    pub(super) running: bool,
    /// The one that ran before it was restarted.
    pub(super) before: Option<String>,
}

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    There(Instance),
    /// The pod is not there any more.
    Gone,
    /// It may not be asked, does not answer, or does not say.
    Unknown,
}

/// Looks at a container; at the only one where none is named.
pub(super) async fn look(pods: &Api<Pod>, name: &str, container: Option<&str>) -> Seen {
    match timeout(ANSWER, pods.get(name)).await {
        Ok(Ok(pod)) => instance(&pod, container).map_or(Seen::Unknown, Seen::There),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Seen::Gone,
        Ok(Err(_)) | Err(_) => Seen::Unknown,
    }
}

fn instance(pod: &Pod, container: Option<&str>) -> Option<Instance> {
    let status = pod.status.as_ref()?;
    let main = status.container_statuses.iter().flatten();
    let one = match container {
        Some(container) => main
            .chain(status.init_container_statuses.iter().flatten())
            .chain(status.ephemeral_container_statuses.iter().flatten())
            .find(|one| one.name == container)?,
        None => the_only(main)?,
    };
    let running = one.state.as_ref().is_some_and(is_running);
    let id = one.container_id.clone().filter(|id| !id.is_empty())?;
    let before = one.last_state.as_ref().and_then(|state| {
        let ended = state.terminated.as_ref()?;
        ended.container_id.clone()
    });
    Some(Instance {
        id,
        running,
        before,
    })
}

fn is_running(state: &ContainerState) -> bool {
    state.running.is_some()
}

fn the_only<'a>(mut all: impl Iterator<Item = &'a ContainerStatus>) -> Option<&'a ContainerStatus> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}
