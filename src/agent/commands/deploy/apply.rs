//! Objects are applied one after the other, and the first that can not be ends it.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::calls::Calls;
use super::dry_run::{Action, fault, owned};
use super::fault::Fault;
use super::item::{Item, reason};
use super::resolve::End;
use super::rollout::{State, condition, judge};
use crate::wire::control::ObjectStatus;
use crate::wire::error::ErrorCode;

/// How long a new kind may take until it is served; it takes the API server a second.
const ESTABLISHED: Duration = Duration::from_secs(60);

/// Between looks at it.
const LOOK: Duration = Duration::from_millis(200);

/// Applies all, in their order, and tells of each.
///
/// # Errors
/// Why it has ended early; `told` knows of what was applied.
pub(super) async fn apply_all(
    calls: &Calls<'_>,
    items: &[Item],
    project: &str,
    mut told: impl FnMut(usize, Result<ObjectStatus, &Fault>),
) -> Result<(), End> {
    let mut waits_for = Vec::new();
    for (index, item) in items.iter().enumerate() {
        if !item.is_definition() {
            for definition in waits_for.drain(..) {
                established(calls, definition).await?;
            }
        }
        match apply_one(calls, item, project).await {
            Ok(status) => told(index, Ok(status)),
            Err(end) => {
                if let End::Faults(faults) = &end {
                    faults.iter().for_each(|fault| told(index, Err(fault)));
                }
                return Err(end);
            }
        }
        if item.is_definition() {
            waits_for.push(item);
        }
    }
    for definition in waits_for {
        established(calls, definition).await?;
    }
    Ok(())
}

async fn apply_one(calls: &Calls<'_>, item: &Item, project: &str) -> Result<ObjectStatus, End> {
    let before = owned(calls, item, project, false).await?;
    let answer = calls.apply(item, false).await;
    let after = answer.map_err(|error| fault(item, error))?;
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let action = match before {
        None => Action::Created,
        Some(before) if version(&before) == version(&after) => Action::Unchanged,
        Some(_) => Action::Configured,
    };
    let state = judge(&item.resource, &after);
    Ok(ObjectStatus {
        action: Some(action.as_str().to_owned()),
        ready: matches!(state, State::Ready(_)),
        reason: state.words().and_then(reason),
        ..item.status()
    })
}

/// Waits until a kind is served.
async fn established(calls: &Calls<'_>, item: &Item) -> Result<(), End> {
    let until = Instant::now() + ESTABLISHED;
    loop {
        let found = calls.get(item, true).await;
        let found = found.map_err(|error| fault(item, error))?;
        let found = found.unwrap_or_default();
        let refused = condition(&found, "NamesAccepted").filter(|c| c["status"] == "False");
        if condition(&found, "Established").is_some_and(|c| c["status"] == "True") {
            return Ok(());
        }
        if refused.is_some() || Instant::now() > until {
            let why = refused.and_then(|c| c["message"].as_str());
            let why = why.unwrap_or("the API server does not say why");
            let message = format!("the kind that it defines is not served: {why}");
            return Err(item.fault(Fault::new(ErrorCode::Conflict, message)).into());
        }
        calls.pause(LOOK).await?;
    }
}
