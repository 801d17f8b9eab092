//! Objects that a project no longer has are deleted, in the reverse of the order in which they are applied.
//!
//! Only what carries the labels of the project goes; the rest is kept, and said so. A namespace or a definition goes only
//! if it is listed itself, and not while somebody else has things in it. Deleting is asked for and not
//! waited for: finalizers and the garbage collector take their time.

use std::cmp::Reverse;

use kube::Client;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::calls::Calls;
use super::documents::MAX_OBJECTS;
use super::dry_run::fault;
use super::fault::{Fault, combined};
use super::item::{Item, reason};
use super::kinds::Kinds;
use super::resolve::{End, Scope};
use super::{Ending, FAILED, labels, names, others, refused, result, stopped, time_limit};
use crate::agent::commands::policy::Policy;
use crate::wire::control::{DeployResult, ObjectRef, ObjectStatus, Outcome, Prune};
use crate::wire::error::ErrorCode;

/// An object that is replaced by another of its name just then is looked at anew this often.
const LOOKS: usize = 3;

/// Deletes the listed objects of a project. `client` speaks as the requester's account.
pub(in crate::agent) async fn prune(
    client: &Client,
    policy: &Policy,
    command_id: &str,
    command: &Prune,
    cancel: &CancellationToken,
) -> DeployResult {
    let limit = time_limit(policy, None);
    let calls = Calls::new(client, cancel, limit);
    let scope = Scope {
        policy,
        project: &command.project_id,
        namespace: &command.namespace,
    };
    let mut objects = Vec::new();
    let ended = match resolve(&calls, scope, &command.objects).await {
        Ok(targets) => all(&calls, scope.project, targets, &mut objects).await,
        Err(End::Stop(stop)) => Err(stopped(stop, limit, "nothing was deleted")),
        Err(End::Faults(faults)) => Err(refused(&faults)),
    };
    result(command_id, objects, ended)
}

/// What is to be deleted; of a kind that the cluster does not have, there is nothing.
enum Target {
    Item(Box<Item>),
    Absent(ObjectRef),
}

async fn resolve(
    calls: &Calls<'_>,
    scope: Scope<'_>,
    objects: &[ObjectRef],
) -> Result<Vec<Target>, End> {
    scope.check()?;
    if objects.len() > MAX_OBJECTS {
        let message = format!("more than {MAX_OBJECTS} objects are listed, the most at once");
        let fault = Fault::new(ErrorCode::PayloadTooLarge, message);
        return Err(fault.field("objects").into());
    }
    let mut kinds = Kinds::default();
    let mut targets = Vec::with_capacity(objects.len());
    let mut faults = Vec::new();
    for object in objects {
        match target(calls, scope, &mut kinds, object).await {
            Ok(target) => targets.push(target),
            Err(End::Stop(stop)) => return Err(stop.into()),
            Err(End::Faults(found)) => {
                let named = |fault: Fault| fault.object(&object.kind, &object.name);
                faults.extend(found.into_iter().map(named));
            }
        }
    }
    if !faults.is_empty() {
        return Err(End::Faults(faults));
    }
    targets.sort_by_key(|target| match target {
        Target::Item(item) => Reverse(item.rank()),
        Target::Absent(_) => Reverse(usize::MAX),
    });
    Ok(targets)
}

async fn target(
    calls: &Calls<'_>,
    scope: Scope<'_>,
    kinds: &mut Kinds,
    object: &ObjectRef,
) -> Result<Target, End> {
    let (group, version) = names::group_version(&object.api_version)
        .ok_or_else(|| Fault::invalid("api_version is no 'group/version'").field("api_version"))?;
    if !names::is_kind(&object.kind) {
        return Err(Fault::invalid("kind is no name of a kind")
            .field("kind")
            .into());
    }
    if !names::is_path_segment(&object.name) {
        return Err(Fault::invalid("no object can have this name")
            .field("name")
            .into());
    }
    let Some(kind) = kinds.find(calls, &group, &version, &object.kind).await? else {
        return Ok(Target::Absent(object.clone()));
    };
    if !kind.can("delete") {
        let message = format!("objects of kind {} can not be deleted", object.kind);
        return Err(Fault::invalid(message).field("kind").into());
    }
    let namespace = scope.place(&kind, object.namespace.as_deref(), &object.name)?;
    Ok(Target::Item(Box::new(Item {
        document: None,
        object: Value::Null,
        resource: kind.resource,
        name: object.name.clone(),
        namespace,
        own_kind: false,
        own_namespace: false,
    })))
}

/// Goes on after a failure: what is left over is then the least.
async fn all(
    calls: &Calls<'_>,
    project: &str,
    targets: Vec<Target>,
    objects: &mut Vec<ObjectStatus>,
) -> Result<(), Ending> {
    let mut faults = Vec::new();
    let count = targets.len();
    for target in targets {
        let item = match target {
            Target::Item(item) => item,
            Target::Absent(object) => {
                objects.push(absent(object));
                continue;
            }
        };
        match one(calls, project, &item).await {
            Ok(status) => objects.push(status),
            Err(End::Stop(stop)) => {
                let so_far = format!("{} of {count} objects were seen to", objects.len());
                return Err(stopped(stop, calls.limit(), &so_far));
            }
            Err(End::Faults(found)) => {
                let why = found.first().map(|fault| fault.message.clone());
                objects.push(acted(&item, FAILED, why));
                faults.extend(found);
            }
        }
    }
    match combined(&faults) {
        None => Ok(()),
        error => Err(Ending {
            outcome: Outcome::Failed,
            error,
        }),
    }
}

fn absent(object: ObjectRef) -> ObjectStatus {
    ObjectStatus {
        object,
        action: Some("absent".to_owned()),
        ready: false,
        reason: reason("the cluster has no such kind"),
    }
}

fn acted(item: &Item, action: &str, why: Option<String>) -> ObjectStatus {
    ObjectStatus {
        action: Some(action.to_owned()),
        reason: why.and_then(reason),
        ..item.status()
    }
}

async fn one(calls: &Calls<'_>, project: &str, item: &Item) -> Result<ObjectStatus, End> {
    let failed = |error| fault(item, error);
    for _ in 0..LOOKS {
        let Some(found) = calls.get(item, false).await.map_err(failed)? else {
            return Ok(acted(item, "absent", None));
        };
        if !labels::is_ours(&found, project) {
            let why = format!(
                "it has not the labels {}={} and {}={project}",
                labels::MANAGED_BY,
                labels::MANAGER,
                labels::PROJECT
            );
            return Ok(acted(item, "kept", Some(why)));
        }
        if item.is_namespace() || item.is_definition() {
            let other = others::in_it(calls, item, project).await.map_err(failed)?;
            if let Some(other) = other {
                let why = format!("it would take {other} with it, which is not the project's");
                return Ok(acted(item, "kept", Some(why)));
            }
        }
        match calls.delete(item, &this_one(&found)).await {
            Ok(()) => return Ok(acted(item, "deleted", None)),
            Err(error) if error.code() == Some(404) => return Ok(acted(item, "absent", None)),
            // It is another object by now.
            Err(error) if error.code() == Some(409) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let message = "it is replaced by another object of its name again and again";
    let replaced = Fault::new(ErrorCode::Conflict, message);
    Err(item.fault(replaced).into())
}

/// Not another one that has its name by then.
fn this_one(found: &Value) -> DeleteParams {
    let uid = found["metadata"]["uid"].as_str();
    DeleteParams {
        propagation_policy: Some(PropagationPolicy::Background),
        preconditions: Some(Preconditions {
            uid: uid.map(str::to_owned),
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}
