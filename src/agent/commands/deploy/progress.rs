//! What is told of a deployment while it goes on.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::control::{DeployPhase, DeployStatus, ObjectStatus};

/// Between two reports of one phase: a person sees it move, and an agent's messages are counted.
const INTERVAL: Duration = Duration::from_secs(1);

/// Tells of each new phase at once, and of what is new within one as often as [`INTERVAL`] says.
pub(super) struct Progress<'a, F> {
    command_id: &'a str,
    tell: F,
    last: Option<(Instant, DeployStatus)>,
}

impl<'a, F: FnMut(DeployStatus)> Progress<'a, F> {
    pub(super) fn new(command_id: &'a str, tell: F) -> Self {
        Self {
            command_id,
            tell,
            last: None,
        }
    }

    pub(super) fn tell(&mut self, phase: DeployPhase, message: &str, objects: &[ObjectStatus]) {
        if let Some((when, status)) = &self.last
            && status.phase == phase
            && (when.elapsed() < INTERVAL || status.message == message && status.objects == objects)
        {
            return;
        }
        let status = DeployStatus {
            command_id: self.command_id.to_owned(),
            phase,
            message: message.to_owned(),
            objects: objects.to_vec(),
        };
        (self.tell)(status.clone());
        self.last = Some((Instant::now(), status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn phases_are_told_at_once_and_news_once_a_second() {
        let mut told = Vec::new();
        let mut progress = Progress::new("c", |status: DeployStatus| told.push(status.message));
        progress.tell(DeployPhase::Validating, "a", &[]);
        progress.tell(DeployPhase::Validating, "too soon", &[]);
        progress.tell(DeployPhase::Applying, "b", &[]);
        tokio::time::advance(INTERVAL).await;
        progress.tell(DeployPhase::Applying, "b", &[]);
        progress.tell(DeployPhase::Applying, "c", &[]);
        assert_eq!(told, ["a", "b", "c"]);
    }
}
