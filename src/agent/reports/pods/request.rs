//! What a pod requests of its node, as the scheduler reckons it.

use crate::agent::reports::quantity::{milli, whole};
use crate::agent::reports::slim::{Amounts, Container, PodSpec};

/// Processor time and memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::agent::reports) struct Amount {
    /// Thousandths of a processor.
    pub(in crate::agent::reports) cpu: u64,
    /// Bytes.
    pub(in crate::agent::reports) memory: u64,
}

impl Amount {
    /// What a pod needs at most at once: its containers together, or, before they run, the greediest of the init
    /// containers with the sidecars that were started before it (KEP-753); and the overhead of its runtime. Where the
    /// pod as a whole requests something, that counts instead (KEP-2837).
    pub(super) fn of(spec: &PodSpec) -> Self {
        let app = spec.containers.iter().map(requested);
        let app = app.fold(Self::default(), Self::plus);
        let (mut sidecars, mut starting) = (Self::default(), Self::default());
        for container in &spec.init_containers {
            let own = requested(container);
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars = sidecars.plus(own);
                starting = starting.most(sidecars);
            } else {
                starting = starting.most(sidecars.plus(own));
            }
        }
        let whole = &spec.resources.requests;
        let of_containers = app.plus(sidecars).most(starting);
        let of_pod = Self::read(whole);
        let chosen = Self {
            cpu: whole.cpu.as_ref().map_or(of_containers.cpu, |_| of_pod.cpu),
            memory: whole
                .memory
                .as_ref()
                .map_or(of_containers.memory, |_| of_pod.memory),
        };
        chosen.plus(Self::read(&spec.overhead))
    }

    /// What quantities say; nothing for what is not there. The API server lets no bad quantity pass.
    pub(in crate::agent::reports) fn read(amounts: &Amounts) -> Self {
        let of = |text: &Option<String>, read: fn(&str) -> Option<u64>| {
            text.as_deref().and_then(read).unwrap_or_default()
        };
        Self {
            cpu: of(&amounts.cpu, milli),
            memory: of(&amounts.memory, whole),
        }
    }

    pub(in crate::agent::reports) fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            memory: self.memory.saturating_add(other.memory),
        }
    }

    pub(in crate::agent::reports) fn minus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(other.cpu),
            memory: self.memory.saturating_sub(other.memory),
        }
    }

    fn most(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            memory: self.memory.max(other.memory),
        }
    }
}

fn requested(container: &Container) -> Amount {
    Amount::read(&container.resources.requests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(spec: serde_json::Value) -> (u64, u64) {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let amount = Amount::of(&spec);
        (amount.cpu, amount.memory)
    }

    fn container(cpu: &str, memory: &str) -> serde_json::Value {
        json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    fn sidecar(cpu: &str) -> serde_json::Value {
        json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn containers_are_added_and_the_overhead() {
        let spec = json!({"containers": [container("100m", "1Gi"), container("1", "1"), {}],
            "overhead": {"cpu": "10m", "memory": "2"}});
        assert_eq!(of(spec), (1110, (1 << 30) + 3));
        assert_eq!(of(json!({})), (0, 0));
    }

    #[test]
    fn an_init_container_counts_where_it_needs_more_than_all_that_follows() {
        let spec = json!({"containers": [container("1", "100")], "initContainers": [container("3", "10"), container("2", "50")]});
        assert_eq!(of(spec), (3000, 100));
    }

    #[test]
    fn sidecars_go_on_beside_what_follows_them() {
        let spec = json!({"containers": [container("1", "0")], "initContainers": [sidecar("500m"), container("2", "0"), sidecar("100m")]});
        assert_eq!(of(spec).0, 2500);
        let spec = json!({"containers": [container("2", "0")], "initContainers": [container("2", "0"), sidecar("500m")]});
        assert_eq!(of(spec).0, 2500);
    }

    #[test]
    fn what_the_pod_requests_as_a_whole_comes_first() {
        let spec =
            json!({"containers": [container("1", "7")], "resources": {"requests": {"cpu": "4"}}});
        assert_eq!(of(spec), (4000, 7));
    }
}
