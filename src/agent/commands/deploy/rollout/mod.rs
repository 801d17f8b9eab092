//! What was applied is followed until it is ready.
//!
//! `judge` says how far one object is, `pods` why it is not further. What a pod says may heal (an image that is pushed a
//! minute later), so that only what its controller gives up has failed: a deployment's progress
//! deadline, a job, a pod, or an object that is gone.

mod judge;
mod pods;

use std::time::Duration;

use super::calls::{CallError, Calls, Stop};
use super::fault::Fault;
use super::item::{Item, reason};
use crate::wire::control::ObjectStatus;
use crate::wire::error::ErrorCode;

pub(super) use judge::{State, condition, judge};

/// Between looks at what is not ready; the API server has little to do with it, since only that is read.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// After some looks.
const LATER_LOOK: Duration = Duration::from_secs(2);

/// Objects of one look whose pods are asked for a reason; the others' status says what is missing.
const EXPLAINED: usize = 10;

/// Why it was not followed to the end.
pub(super) enum Unready {
    Stop(Stop),
    Failed(Fault),
}

impl From<Stop> for Unready {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// Follows until all are ready; `statuses` are those of `items`, and are kept up.
///
/// # Errors
/// The first object that has failed, or why it is to stop.
pub(super) async fn follow(
    calls: &Calls<'_>,
    items: &[Item],
    statuses: &mut [ObjectStatus],
    mut told: impl FnMut(&str, &[ObjectStatus]),
) -> Result<(), Unready> {
    let mut wait = FIRST_LOOK;
    loop {
        let mut failed = None;
        let mut unready = 0;
        for (item, status) in items.iter().zip(statuses.iter_mut()) {
            if status.ready {
                continue;
            }
            let state = look(calls, item, unready < EXPLAINED).await?;
            status.ready = matches!(state, State::Ready(_));
            unready += usize::from(!status.ready);
            let gone = matches!(state, State::Failed(_));
            status.reason = state.words().and_then(reason);
            if gone && failed.is_none() {
                let why = status.reason.clone().unwrap_or_default();
                failed = Some(item.fault(Fault::new(ErrorCode::TargetFailed, why)));
            }
        }
        if let Some(fault) = failed {
            return Err(Unready::Failed(fault));
        }
        if unready == 0 {
            return Ok(());
        }
        told(&waits_for(statuses), statuses);
        calls.pause(wait).await?;
        wait = LATER_LOOK.min(wait + FIRST_LOOK / 10);
    }
}

/// The first thing that is waited for, in a sentence.
pub(super) fn waits_for(statuses: &[ObjectStatus]) -> String {
    let mut unready = statuses.iter().filter(|status| !status.ready);
    let Some(first) = unready.next() else {
        return String::new();
    };
    let others = match unready.count() {
        0 => String::new(),
        count => format!(" (and {count} more objects)"),
    };
    let why = first.reason.as_deref().unwrap_or("not ready yet");
    format!(
        "{} '{}': {why}{others}",
        first.object.kind, first.object.name
    )
}

async fn look(calls: &Calls<'_>, item: &Item, explain: bool) -> Result<State, Stop> {
    let object = match calls.get(item, true).await {
        Ok(Some(object)) => object,
        Ok(None) => return Ok(gone(item)),
        Err(CallError::Stopped(stop)) => return Err(stop),
        Err(error) if error.code() == Some(403) => return Ok(State::Failed(error.to_string())),
        // The cluster goes on without us.
        Err(error) => return Ok(State::Waiting(error.to_string())),
    };
    let state = judge(&item.resource, &object);
    let words = match &state {
        State::Ready(_) => return Ok(state),
        State::Waiting(_) if !explain => return Ok(state),
        State::Waiting(words) | State::Failed(words) => words,
    };
    let Some(why) = pods::reason(calls, item, &object).await else {
        return Ok(state);
    };
    let both = if words.contains(&why) {
        words.clone()
    } else {
        format!("{words}; {why}")
    };
    Ok(match state {
        State::Failed(_) => State::Failed(both),
        State::Ready(_) | State::Waiting(_) => State::Waiting(both),
    })
}

/// A job may be cleaned up before it is looked at again.
fn gone(item: &Item) -> State {
    const ENDED: &str =
        "it has ended and is cleaned up (spec.ttlSecondsAfterFinished); nobody knows how it ended";
    let cleaned_up = item.object["spec"]["ttlSecondsAfterFinished"].is_number();
    if item.resource.group == "batch" && cleaned_up {
        return State::Ready(Some(ENDED.to_owned()));
    }
    State::Failed("it was deleted meanwhile".to_owned())
}

#[cfg(test)]
mod tests;
