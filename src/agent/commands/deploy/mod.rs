//! `deploy` and `prune`: a manifest's objects come to a namespace, and go again.
//!
//! The way of a deployment: `documents` reads the text, `resolve` makes objects of it (`kinds`, `labels`, the policy),
//! `dry_run` has the API server try all of them, `apply` applies one after the other in the order of `order`, and `rollout`
//! follows them until they are ready. What is wrong before anything is applied is reported whole, and nothing is
//! applied. `calls` is the way to the API server. One deadline holds for all of it.
//!
//! Objects are applied server-side, as the field manager `pipeops-agent`. Fields that somebody set with kubectl are taken
//! over; those that another program has are not, and the conflict is reported with its name.
//! Two deployments at once of one project do not disturb each other: of each object the later one holds.
//! Whether an object is another project's is looked at when it is tried, and again right before it is applied; Kubernetes has no
//! way to make that one step.

mod apply;
mod calls;
mod documents;
mod dry_run;
mod fault;
mod item;
mod kinds;
mod labels;
mod names;
mod order;
mod others;
mod progress;
mod prune;
mod resolve;
mod rollout;
mod tree;

use std::time::Duration;

use kube::Client;
use tokio_util::sync::CancellationToken;

use self::calls::{Calls, Stop};
use self::fault::{Fault, combined};
use self::item::{Item, reason};
use self::progress::Progress;
use self::resolve::{End, Scope};
use self::rollout::Unready;
use super::policy::Policy;
use crate::wire::control::{
    CommandError, Deploy, DeployPhase, DeployResult, DeployStatus, ObjectStatus, Outcome,
};
use crate::wire::error::ErrorCode;

pub(in crate::agent) use self::prune::prune;

/// What the action of an object that could not be applied, tried or deleted is called.
const FAILED: &str = "failed";

/// How a command ends that does not succeed.
struct Ending {
    outcome: Outcome,
    error: Option<CommandError>,
}

/// Applies manifests and follows them until they are ready. `client` speaks as the requester's account;
/// `progress` is told what changes, once a second at most and at each new phase.
pub(in crate::agent) async fn deploy(
    client: &Client,
    policy: &Policy,
    command_id: &str,
    command: &Deploy,
    progress: impl FnMut(DeployStatus),
    cancel: &CancellationToken,
) -> DeployResult {
    let limit = time_limit(policy, command.timeout_ms);
    let mut run = Run {
        calls: Calls::new(client, cancel, limit),
        scope: Scope {
            policy,
            project: &command.project_id,
            namespace: &command.namespace,
        },
        progress: Progress::new(command_id, progress),
        objects: Vec::new(),
    };
    let ended = run.all(command).await;
    result(command_id, run.objects, ended)
}

/// The agent's limit, or what the command says below it.
fn time_limit(policy: &Policy, asked: Option<u64>) -> Duration {
    let most = policy.config().deploy_timeout.0;
    asked.map_or(most, |asked| most.min(Duration::from_millis(asked)))
}

fn result(command_id: &str, objects: Vec<ObjectStatus>, ended: Result<(), Ending>) -> DeployResult {
    let (outcome, error) = match ended {
        Ok(()) => (Outcome::Succeeded, None),
        Err(ending) => (ending.outcome, ending.error),
    };
    DeployResult {
        command_id: command_id.to_owned(),
        outcome,
        objects,
        error,
    }
}

/// One deployment.
struct Run<'a, F> {
    calls: Calls<'a>,
    scope: Scope<'a>,
    progress: Progress<'a, F>,
    /// In the order in which they are applied.
    objects: Vec<ObjectStatus>,
}

impl<F: FnMut(DeployStatus)> Run<'_, F> {
    async fn all(&mut self, command: &Deploy) -> Result<(), Ending> {
        self.tell(DeployPhase::Validating, "reading the manifest");
        let items = match self.read(command).await {
            Ok(items) => items,
            Err(end) => return Err(self.before(end)),
        };
        self.objects = items.iter().map(Item::status).collect();
        self.try_all(&items, command.dry_run).await?;
        if command.dry_run {
            return Ok(());
        }
        self.apply_all(&items).await?;
        self.roll_out(&items).await
    }

    async fn read(&self, command: &Deploy) -> Result<Vec<Item>, End> {
        self.scope.check()?;
        let documents = documents::read(&command.manifest).map_err(End::Faults)?;
        resolve::resolve(self.scope, &self.calls, documents).await
    }

    async fn try_all(&mut self, items: &[Item], told: bool) -> Result<(), Ending> {
        let (progress, objects) = (&mut self.progress, &self.objects);
        let tried = |count: usize| {
            let message = format!("{count} of {} objects are tried", items.len());
            progress.tell(DeployPhase::Validating, &message, objects);
        };
        let trials = dry_run::try_all(&self.calls, items, self.scope.project, tried).await;
        let trials = match trials {
            Ok(trials) => trials,
            Err(end) => return Err(self.before(end)),
        };
        let mut faults = Vec::new();
        for (object, trial) in self.objects.iter_mut().zip(trials) {
            match trial {
                Ok(action) if told => object.action = Some(action.as_str().to_owned()),
                Ok(_) => {}
                Err(fault) => {
                    object.action = Some(FAILED.to_owned());
                    object.reason = reason(fault.message.clone());
                    faults.push(fault);
                }
            }
        }
        // As they stand in the manifest, and not in the order in which they would be applied.
        faults.sort_by_key(|fault: &Fault| fault.document);
        if faults.is_empty() {
            Ok(())
        } else {
            Err(self.before(End::Faults(faults)))
        }
    }

    async fn apply_all(&mut self, items: &[Item]) -> Result<(), Ending> {
        self.tell(DeployPhase::Applying, "");
        let (progress, objects) = (&mut self.progress, &mut self.objects);
        let told = |index: usize, applied: Result<ObjectStatus, &Fault>| {
            let Some(object) = objects.get_mut(index) else {
                return;
            };
            match applied {
                Ok(status) => *object = status,
                Err(fault) => {
                    object.action = Some(FAILED.to_owned());
                    object.reason = reason(fault.message.clone());
                }
            }
            let message = format!("{} of {} objects are applied", index + 1, items.len());
            progress.tell(DeployPhase::Applying, &message, objects);
        };
        match apply::apply_all(&self.calls, items, self.scope.project, told).await {
            Ok(()) => Ok(()),
            Err(End::Stop(stop)) => Err(self.stopped(stop, "")),
            Err(End::Faults(faults)) => {
                let mut error = combined(&faults).unwrap_or_default();
                error.message += &format!("; {}", self.applied());
                Err(Ending {
                    outcome: Outcome::Failed,
                    error: Some(error),
                })
            }
        }
    }

    async fn roll_out(&mut self, items: &[Item]) -> Result<(), Ending> {
        self.tell(DeployPhase::RollingOut, "");
        let progress = &mut self.progress;
        let told = |message: &str, objects: &[ObjectStatus]| {
            progress.tell(DeployPhase::RollingOut, message, objects);
        };
        match rollout::follow(&self.calls, items, &mut self.objects, told).await {
            Ok(()) => Ok(()),
            Err(Unready::Stop(stop)) => {
                let why = rollout::waits_for(&self.objects);
                Err(self.stopped(stop, &why))
            }
            Err(Unready::Failed(fault)) => Err(Ending {
                outcome: Outcome::Failed,
                error: Some(fault.error()),
            }),
        }
    }

    fn tell(&mut self, phase: DeployPhase, message: &str) {
        self.progress.tell(phase, message, &self.objects);
    }

    /// An end before anything was applied.
    fn before(&self, end: End) -> Ending {
        match end {
            End::Stop(stop) => self.stopped(stop, ""),
            End::Faults(faults) => refused(&faults),
        }
    }

    fn stopped(&self, stop: Stop, waits_for: &str) -> Ending {
        let waited = if waits_for.is_empty() {
            String::new()
        } else {
            format!("; it waits for {waits_for}")
        };
        stopped(
            stop,
            self.calls.limit(),
            &format!("{}{waited}", self.applied()),
        )
    }

    fn applied(&self) -> String {
        let applied = |object: &&ObjectStatus| {
            let action = object.action.as_deref();
            action.is_some_and(|action| action != FAILED)
        };
        match self.objects.iter().filter(applied).count() {
            0 => "nothing was applied".to_owned(),
            count => format!(
                "{count} of {} objects were applied, and stay",
                self.objects.len()
            ),
        }
    }
}

/// An end before anything was changed: refused, unless it is the cluster's API that does not answer.
fn refused(faults: &[Fault]) -> Ending {
    let passing =
        |fault: &Fault| fault.code.status() >= 500 || fault.code == ErrorCode::TooManyRequests;
    Ending {
        outcome: if faults.iter().all(passing) {
            Outcome::Failed
        } else {
            Outcome::Refused
        },
        error: combined(faults),
    }
}

fn stopped(stop: Stop, limit: Duration, so_far: &str) -> Ending {
    let (outcome, fault) = match stop {
        Stop::Cancelled => {
            let message = format!("cancelled; {so_far}");
            let fault = Fault::new(ErrorCode::Unavailable, message);
            (Outcome::Cancelled, fault)
        }
        Stop::TimedOut => {
            let message = format!("not done within {} s; {so_far}", limit.as_secs_f32());
            let fault = Fault::new(ErrorCode::TargetTimedOut, message);
            (Outcome::TimedOut, fault)
        }
    };
    Ending {
        outcome,
        error: Some(fault.error()),
    }
}

#[cfg(test)]
mod cluster_tests;
