//! How the cluster is as a whole.

use super::cache::Cache;
use super::core::{Api, Core, Seen};
use super::meters::Watched;
use crate::build_info;
use crate::metrics::Label;
use crate::wire::control::{ClusterStatus, Health};

/// Reasons in one status: the contract's number.
const MAX_REASONS: usize = 8;

/// Bytes of a reason.
const MAX_REASON: usize = 512;

impl Core {
    /// The status as it is now.
    pub(super) fn status(&self) -> ClusterStatus {
        let (nodes, ready) = (self.nodes.count(), self.nodes.ready());
        let listed = self.nodes.is_listed();
        ClusterStatus {
            nodes: number(nodes),
            pods: number(self.pods.count()),
            services: number(self.services.count()),
            health: self.health(),
            nodes_ready: listed.then(|| number(ready)),
            pods_running: self.pods.is_listed().then(|| self.pods.running()),
            kubernetes_version: self.version.clone(),
            agent_version: Some(build_info::VERSION.to_owned()),
            reasons: self.reasons(),
        }
    }

    fn health(&self) -> Health {
        let seen = |nothing: &Seen| Watched::all().into_iter().any(|w| self.seen(w) == nothing);
        let failing = Watched::all().into_iter();
        let failing = failing.map(|watched| self.seen(watched));
        let failing = failing
            .filter(|seen| matches!(seen, Seen::Failing(_)))
            .count();
        let (nodes, ready) = (self.nodes.count(), self.nodes.ready());
        let silent = matches!(self.api, Api::Silent(_));
        let blind = matches!(self.api, Api::NoClient(_));
        if silent || self.nodes.is_listed() && ready == 0 {
            Health::Unhealthy
        } else if seen(&Seen::Nothing) || blind && !self.nodes.is_listed() {
            Health::Unknown
        } else if ready < nodes || failing > 0 || blind {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }

    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match &self.api {
            Api::Silent(why) => reasons.push(format!("The cluster's API does not answer: {why}.")),
            Api::NoClient(why) => {
                reasons.push(format!("The agent can not ask the cluster's API: {why}."))
            }
            Api::Unknown | Api::Answers => {}
        }
        for watched in Watched::all() {
            if let Seen::Failing(why) = self.seen(watched) {
                reasons.push(format!(
                    "The agent does not see the {} as they are: {why}.",
                    watched.text()
                ));
            }
        }
        self.not_ready(MAX_REASONS - reasons.len(), &mut reasons);
        for reason in &mut reasons {
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
        }
        reasons
    }

    /// Names nodes that are not ready, and how many more there are, in at most so many reasons.
    fn not_ready(&self, room: usize, reasons: &mut Vec<String>) {
        let all = self.nodes.count() - self.nodes.ready();
        let named = if all > room {
            room.saturating_sub(1)
        } else {
            all
        };
        for (name, reason) in self.nodes.not_ready(named) {
            let why = if reason.is_empty() {
                "it has not said why"
            } else {
                reason
            };
            reasons.push(format!("The node {name} is not ready: {why}."));
        }
        if all > named {
            reasons.push(format!("{} more nodes are not ready.", all - named));
        }
        if self.nodes.is_listed() && self.nodes.count() == 0 {
            reasons.push("The cluster has no nodes.".to_owned());
        }
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::reports::core::News;
    use crate::agent::reports::meters::Meters;
    use crate::agent::reports::nodes::Nodes;
    use crate::agent::reports::pods::Pods;
    use crate::agent::reports::services::Services;
    use crate::agent::reports::slim::SlimNode;
    use crate::agent::reports::warnings::Warnings;
    use crate::metrics::Registry;
    use serde_json::json;
    use tokio::time::Instant;

    fn core() -> Core {
        Core::new(Meters::new(&mut Registry::new("test")).unwrap())
    }

    fn node(name: &str, ready: &str) -> SlimNode {
        serde_json::from_value(
            json!({"metadata": {"name": name, "uid": name}, "status": {"conditions": [
            {"type": "Ready", "status": ready, "reason": "KubeletNotReady"}]}}),
        )
        .unwrap()
    }

    fn listed(nodes: &[(&str, &str)]) -> Core {
        let (mut core, now) = (core(), Instant::now());
        core.api = Api::Answers;
        for (name, ready) in nodes {
            core.learn::<Nodes>(News::See(node(name, ready)), now);
        }
        core.learn::<Nodes>(News::Complete, now);
        core.learn::<Pods>(News::Complete, now);
        core.learn::<Services>(News::Complete, now);
        core.learn::<Warnings>(News::Complete, now);
        core
    }

    #[test]
    fn nothing_is_known_before_all_lists_are_complete() {
        let mut core = core();
        assert_eq!(core.status().health, Health::Unknown);
        core.learn::<Nodes>(News::See(node("a", "True")), Instant::now());
        core.learn::<Nodes>(News::Complete, Instant::now());
        assert_eq!(core.status().health, Health::Unknown);
        core.api = Api::Silent("connection refused".into());
        let status = core.status();
        assert_eq!(status.health, Health::Unhealthy);
        assert_eq!(
            status.reasons,
            ["The cluster's API does not answer: connection refused."]
        );
    }

    #[test]
    fn health_is_that_of_the_nodes_and_of_the_view() {
        assert_eq!(listed(&[("a", "True")]).status().health, Health::Healthy);
        let status = listed(&[("a", "True"), ("b", "False")]).status();
        assert_eq!(
            (status.health, status.nodes, status.nodes_ready),
            (Health::Degraded, 2, Some(1))
        );
        assert_eq!(
            status.reasons,
            ["The node b is not ready: KubeletNotReady."]
        );
        assert_eq!(
            listed(&[("b", "Unknown")]).status().health,
            Health::Unhealthy
        );
        let none = listed(&[]).status();
        assert_eq!(
            (none.health, none.reasons),
            (
                Health::Unhealthy,
                vec!["The cluster has no nodes.".to_owned()]
            )
        );
        let mut core = listed(&[("a", "True")]);
        core.note(Watched::Events, Seen::Failing("forbidden".into()));
        let status = core.status();
        assert_eq!(status.health, Health::Degraded);
        assert_eq!(
            status.reasons,
            ["The agent does not see the events as they are: forbidden."]
        );
        core.note(Watched::Events, Seen::All);
        core.api = Api::NoClient("no kubeconfig".into());
        assert_eq!(core.status().health, Health::Degraded);
    }

    #[test]
    fn reasons_are_few_and_short() {
        let names: Vec<_> = (0..100)
            .map(|n| format!("node-{n:03}-{}", "x".repeat(900)))
            .collect();
        let nodes: Vec<_> = names.iter().map(|name| (name.as_str(), "False")).collect();
        let mut core = listed(&nodes);
        core.note(Watched::Pods, Seen::Failing("é".repeat(900)));
        let reasons = core.status().reasons;
        assert_eq!(reasons.len(), MAX_REASONS);
        assert!(reasons.iter().all(|reason| reason.len() <= MAX_REASON));
        assert_eq!(reasons[7], "94 more nodes are not ready.");
    }
}
