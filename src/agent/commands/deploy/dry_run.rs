//! All objects are tried before one is applied.
//!
//! The API server tries what it can (`dryRun=All`, strict validation). Two things it can not try, since
//! what they need is only made by this same manifest:
//! - what goes to a namespace that is not there yet is tried in the namespace `default`, and only a verdict
//!   on its form (400, 422) counts: quotas, rights and admission of the real namespace do not apply there;
//! - of what is of a kind that is defined or redefined here, only the parts that every object has are checked.

use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use super::calls::{CallError, Calls};
use super::fault::Fault;
use super::item::Item;
use super::labels;
use super::resolve::End;
use crate::wire::error::ErrorCode;

/// Objects that are tried at once: enough to hide the way to the API server, and a small part of what it serves at once.
const AT_ONCE: usize = 8;

/// Where what has no namespace yet is tried; it is in every cluster.
const STAND_IN: &str = "default";

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Created,
    Configured,
    Unchanged,
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Of one object: what would be done, or why not.
pub(super) type Trial = Result<Action, Fault>;

/// Tries all, in their order.
///
/// # Errors
/// Only where it is to stop, or the API server does not answer: what is wrong with objects is in their trials.
pub(super) async fn try_all(
    calls: &Calls<'_>,
    items: &[Item],
    project: &str,
    mut tried: impl FnMut(usize),
) -> Result<Vec<Trial>, End> {
    // What others need is tried first; how decides how the others are tried.
    let needed = items
        .iter()
        .take_while(|item| item.is_namespace() || item.is_definition())
        .count();
    let (first, others) = items.split_at(needed);
    let mut trials = Vec::with_capacity(items.len());
    for item in first {
        trials.push(settled(try_one(calls, item, project).await)?);
        tried(trials.len());
    }
    let ground = Ground::new(first, &trials);
    let mut running = stream::iter(others)
        .map(|item| ground.try_on(calls, item, project))
        .buffered(AT_ONCE);
    while let Some(trial) = running.next().await {
        trials.push(settled(trial)?);
        tried(trials.len());
    }
    Ok(trials)
}

fn settled(trial: Result<Action, End>) -> Result<Trial, End> {
    let faults = match trial {
        Ok(action) => return Ok(Ok(action)),
        Err(End::Faults(faults)) => faults,
        stop => return stop.map(Ok),
    };
    match faults.into_iter().next() {
        Some(fault) if fault.code == ErrorCode::Unavailable => Err(fault.into()),
        Some(fault) => Ok(Err(fault)),
        None => Ok(Err(Fault::new(
            ErrorCode::Internal,
            "a fault without a word",
        ))),
    }
}

/// What is there before anything is applied.
struct Ground {
    /// The namespace is made by the manifest.
    new_namespace: bool,
    /// All definitions of the manifest are in the cluster as they are in the manifest.
    definitions_stand: bool,
}

impl Ground {
    fn new(items: &[Item], trials: &[Trial]) -> Self {
        let mut pairs = items.iter().zip(trials);
        let stands =
            |(item, trial): (&Item, &Trial)| item.is_namespace() || *trial == Ok(Action::Unchanged);
        Self {
            definitions_stand: pairs.clone().all(stands),
            new_namespace: pairs
                .any(|(item, trial)| item.is_namespace() && *trial == Ok(Action::Created)),
        }
    }

    async fn try_on(&self, calls: &Calls<'_>, item: &Item, project: &str) -> Result<Action, End> {
        let nowhere = self.new_namespace && item.own_namespace;
        match (item.own_kind && !self.definitions_stand, nowhere) {
            (false, false) => try_one(calls, item, project).await,
            (false, true) => try_elsewhere(calls, item).await,
            (true, true) => Ok(Action::Created),
            (true, false) => match owned(calls, item, project, false).await? {
                Some(_) => Ok(Action::Configured),
                None => Ok(Action::Created),
            },
        }
    }
}

async fn try_one(calls: &Calls<'_>, item: &Item, project: &str) -> Result<Action, End> {
    let before = owned(calls, item, project, true).await?;
    let answer = calls.apply(item, true).await;
    let after = answer.map_err(|error| fault(item, error))?;
    Ok(match before {
        None => Action::Created,
        Some(before) => {
            if same(before, after) {
                Action::Unchanged
            } else {
                Action::Configured
            }
        }
    })
}

async fn try_elsewhere(calls: &Calls<'_>, item: &Item) -> Result<Action, End> {
    match calls.try_create(item, STAND_IN).await {
        Err(error) if matches!(error.code(), Some(400 | 422)) => Err(fault(item, error)),
        Ok(_) | Err(CallError::Refused(_)) => Ok(Action::Created),
        Err(error) => Err(fault(item, error)),
    }
}

/// The object as it is, or its metadata only.
///
/// # Errors
/// Also where it belongs to another project.
pub(super) async fn owned(
    calls: &Calls<'_>,
    item: &Item,
    project: &str,
    whole: bool,
) -> Result<Option<Value>, End> {
    let found = calls.get(item, whole).await;
    let found = found.map_err(|error| fault(item, error))?;
    match found.as_ref().and_then(labels::project) {
        Some(other) if other != project => {
            let message = format!(
                "it is there and belongs to the project '{other}' (label {}); choose another name or namespace",
                labels::PROJECT
            );
            Err(item.fault(Fault::new(ErrorCode::Conflict, message)).into())
        }
        _ => Ok(found),
    }
}

/// Why a call about an object ends the command.
pub(super) fn fault(item: &Item, error: CallError) -> End {
    match error.fault() {
        Ok(fault) => End::from(item.fault(explained(fault))),
        Err(stop) => End::Stop(stop),
    }
}

/// Kubernetes says who has a field, and not what to do.
fn explained(mut fault: Fault) -> Fault {
    if fault.code == ErrorCode::Conflict && fault.message.starts_with("Apply failed with") {
        let advice = if fault.message.contains("spec.replicas") {
            "leave the field out, so that who scales it keeps it"
        } else {
            "leave these fields out, or have the other manager give them up"
        };
        fault.message += &format!(" ({advice})");
    }
    fault
}

/// Whether applying changes nothing. The version of a trial's answer means nothing.
fn same(mut before: Value, mut after: Value) -> bool {
    for object in [&mut before, &mut after] {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("resourceVersion");
        }
    }
    before == after
}
