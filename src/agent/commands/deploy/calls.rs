//! Requests to the API server: each has an end, and is tried again where that may help.

use std::time::Duration;

use http::{Method, Request};
use kube::Client;
use kube::api::{DeleteParams, GetParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::{Request as Make, Status};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::fault::{Fault, unfit_field};
use super::item::Item;
use crate::wire::error::ErrorCode;

/// Who owns what is applied; `kubectl get --show-managed-fields` tells.
const MANAGER: &str = "pipeops-agent";

/// How long one request may take: what the API server itself takes at most for a request that is no watch is a minute,
/// and one with webhooks that answer takes a few seconds.
const CALL: Duration = Duration::from_secs(30);

/// Waits before a request is tried again, about what a restart of an API server takes.
const WAITS: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Waits longer than this are not kept, whatever the API server asks for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Why a command is not carried on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Somebody wants it.
    Cancelled,
    /// Its time is up.
    TimedOut,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CallError {
    /// The API server says no.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// It was not reached, or said nothing sensible, several times.
    #[error("{0}")]
    Lost(String),
    /// See [`Stop`].
    #[error("stopped")]
    Stopped(Stop),
}

impl CallError {
    /// The status code of a refusal.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            Self::Lost(_) | Self::Stopped(_) => None,
        }
    }

    /// The fault, or why there is none.
    pub(super) fn fault(self) -> Result<Fault, Stop> {
        match self {
            Self::Refused(status) => Ok(Fault::status(&status)),
            Self::Lost(why) => Ok(Fault::new(
                ErrorCode::Unavailable,
                format!("the cluster's API server does not answer: {why}"),
            )),
            Self::Stopped(stop) => Err(stop),
        }
    }
}

/// One command's way to the API server.
#[derive(Clone, Copy)]
pub(super) struct Calls<'a> {
    client: &'a Client,
    cancel: &'a CancellationToken,
    limit: Duration,
    deadline: Instant,
}

impl<'a> Calls<'a> {
    /// Until `limit` is over from now on.
    pub(super) fn new(client: &'a Client, cancel: &'a CancellationToken, limit: Duration) -> Self {
        Self {
            client,
            cancel,
            limit,
            deadline: Instant::now() + limit,
        }
    }

    /// How long all of it may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether to go on.
    pub(super) fn check(&self) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            return Err(Stop::Cancelled);
        }
        if Instant::now() < self.deadline {
            Ok(())
        } else {
            Err(Stop::TimedOut)
        }
    }

    /// Waits, or learns that it need not.
    pub(super) async fn pause(&self, wait: Duration) -> Result<(), Stop> {
        let until = self.deadline.min(Instant::now() + wait);
        let waited = self.cancel.run_until_cancelled(sleep_until(until)).await;
        match waited {
            Some(()) => self.check(),
            None => Err(Stop::Cancelled),
        }
    }

    /// The object, or its metadata only; none where there is none.
    pub(super) async fn get(&self, item: &Item, whole: bool) -> Result<Option<Value>, CallError> {
        let path = Make::new(item.path());
        let params = GetParams::default();
        let request = if whole {
            path.get(&item.name, &params)
        } else {
            path.get_metadata(&item.name, &params)
        };
        match self.send(request, |_| false).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Server-side apply, which takes from nobody what is not a person's at a terminal ([`may_take`]).
    pub(super) async fn apply(&self, item: &Item, dry_run: bool) -> Result<Value, CallError> {
        let mut params = PatchParams::apply(MANAGER).validation_strict();
        params.dry_run = dry_run;
        let again = |status: &Status| item.comes_about(status) || raced(status);
        loop {
            let request =
                Make::new(item.path()).patch(&item.name, &params, &Patch::Apply(&item.object));
            match self.send(request, again).await {
                Err(CallError::Refused(status)) if !params.force && may_take(&status) => {
                    params.force = true;
                }
                answer => return answer,
            }
        }
    }

    /// Whether the object could be made in `namespace`, which is not its own.
    pub(super) async fn try_create(
        &self,
        item: &Item,
        namespace: &str,
    ) -> Result<Value, CallError> {
        let mut object = item.object.clone();
        if let Some(metadata) = object.get_mut("metadata") {
            metadata["namespace"] = namespace.into();
        }
        let params = PostParams {
            dry_run: true,
            field_manager: Some(MANAGER.to_owned()),
        };
        let strict = serde_json::to_vec(&object).map_err(lost)?;
        let request = Make::new(item.path_in(Some(namespace)))
            .create(&params, strict)
            .map(strictly);
        self.send(request, |_| false).await
    }

    /// What a path has; none where there is no such path.
    pub(super) async fn look_up(&self, path: &str) -> Result<Option<Value>, CallError> {
        let request = Request::get(path)
            .body(Vec::new())
            .map_err(kube::core::request::Error::BuildRequest);
        match self.send(request, |_| false).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.code() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A few objects of a kind.
    pub(super) async fn list(&self, path: &str, params: &ListParams) -> Result<Value, CallError> {
        self.send(Make::new(path).list(params), |_| false).await
    }

    /// Their metadata.
    pub(super) async fn list_metadata(
        &self,
        path: &str,
        params: &ListParams,
    ) -> Result<Value, CallError> {
        let request = Make::new(path).list_metadata(params);
        self.send(request, |_| false).await
    }

    pub(super) async fn delete(&self, item: &Item, params: &DeleteParams) -> Result<(), CallError> {
        let request = Make::new(item.path()).delete(&item.name, params);
        self.send(request, |_| false).await.map(drop)
    }

    /// Sends a request, again and again where `again` or the answer itself says that it may pass. A request that is
    /// under way is not given up for a cancel, since nobody would know what came of it.
    async fn send(
        &self,
        request: Result<Request<Vec<u8>>, kube::core::request::Error>,
        again: impl Fn(&Status) -> bool,
    ) -> Result<Value, CallError> {
        let request = request.map_err(lost)?;
        let mut waits = WAITS.into_iter();
        loop {
            self.check().map_err(CallError::Stopped)?;
            let error = match self.once(request.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = match (&error, waits.next()) {
                (CallError::Refused(status), Some(wait)) if passes(status) || again(status) => {
                    wait.max(retry_after(status))
                }
                (CallError::Lost(_), Some(wait)) => wait,
                _ => return Err(error),
            };
            self.pause(wait).await.map_err(CallError::Stopped)?;
        }
    }

    async fn once(&self, request: Request<Vec<u8>>) -> Result<Value, CallError> {
        let mut until = Instant::now() + CALL;
        // Of what changes something, what came of it is worth more than the moment.
        if request.method() == Method::GET {
            until = until.min(self.deadline);
        }
        let sent = self.client.request::<Value>(request);
        match timeout_at(until, sent).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(CallError::Refused(status)),
            Ok(Err(error)) => Err(lost(crate::agent::cluster::innermost(&error))),
            Err(_) if until == self.deadline => Err(CallError::Stopped(Stop::TimedOut)),
            Err(_) => Err(lost(format!("no answer within {} s", CALL.as_secs()))),
        }
    }
}

fn lost(why: impl ToString) -> CallError {
    CallError::Lost(why.to_string())
}

/// kube has no `fieldValidation` for a create.
fn strictly(mut request: Request<Vec<u8>>) -> Request<Vec<u8>> {
    let uri = format!("{}&fieldValidation=Strict", request.uri());
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// Whether the same request may be taken later: the API server is busy, or on its way up or down.
fn passes(status: &Status) -> bool {
    matches!(status.code, 429 | 500..=599) && unfit_field(status).is_none()
}

/// Whether another one changed the object at the same moment.
fn raced(status: &Status) -> bool {
    status.code == 409 && conflicts(status).next().is_none()
}

fn retry_after(status: &Status) -> Duration {
    let seconds = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    Duration::from_secs(seconds.into()).min(MAX_RETRY_AFTER)
}

/// What each conflict over a field says: `conflict with "kube-controller-manager" using apps/v1`.
fn conflicts(status: &Status) -> impl Iterator<Item = &str> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| cause.message.as_str())
}

/// Whether all fields that an apply would take were set by hand, with kubectl: who deploys by a manifest means it to
/// hold, as a second `kubectl apply` would. What a program keeps to its liking (an autoscaler its replicas, another
/// deployment tool all of it) would go to and fro for ever; that is refused with its name.
fn may_take(status: &Status) -> bool {
    let by_hand = |message: &str| {
        let manager = message.split('"').nth(1).unwrap_or_default();
        manager.starts_with("kubectl") || manager == "before-first-apply"
    };
    let mut conflicts = conflicts(status).peekable();
    status.code == 409 && conflicts.peek().is_some() && conflicts.all(by_hand)
}

#[cfg(test)]
mod tests;
