//! What commands may do here, whatever the platform says.

use crate::agent::config::{AgentConfig, CommandsConfig};
use crate::wire::control::CommandError;
use crate::wire::error::ErrorCode;

/// Stands for all namespaces or kinds.
const ALL: &str = "*";

/// The `commands` section, asked.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Policy(CommandsConfig);

impl Policy {
    #[cfg(test)]
    pub(in crate::agent) fn new(config: &CommandsConfig) -> Self {
        Self(config.clone())
    }

    /// An agent's. Where its cluster is served read-only, commands only read too.
    pub(in crate::agent) fn of(config: &AgentConfig) -> Self {
        let mut commands = config.commands.clone();
        commands.read_only |= config.kubernetes.read_only;
        Self(commands)
    }

    /// Limits and the default role.
    pub(in crate::agent) fn config(&self) -> &CommandsConfig {
        &self.0
    }

    /// Whether anything may be read in a namespace.
    ///
    /// # Errors
    /// `FORBIDDEN`, with what in the agent's configuration says so; as for every method here.
    pub(in crate::agent) fn check_read(&self, namespace: &str) -> Result<(), CommandError> {
        if !self.0.enabled {
            return Err(forbidden(
                "this agent carries out no commands (commands.enabled)",
            ));
        }
        if self.is_all(&self.0.namespaces) || self.0.namespaces.iter().any(|own| own == namespace) {
            return Ok(());
        }
        Err(forbidden(&format!(
            "the namespace '{namespace}' is not among those that this agent lets commands touch (commands.namespaces)"
        )))
    }

    /// Whether anything may be changed in a namespace.
    pub(in crate::agent) fn check_write(&self, namespace: &str) -> Result<(), CommandError> {
        self.check_read(namespace)?;
        if self.0.read_only {
            return Err(forbidden(
                "this agent lets commands only read (commands.read_only, kubernetes.read_only)",
            ));
        }
        Ok(())
    }

    /// Whether a program may be run in a namespace.
    pub(in crate::agent) fn check_exec(&self, namespace: &str) -> Result<(), CommandError> {
        self.check_write(namespace)?;
        if !self.0.exec {
            return Err(forbidden(
                "this agent runs no programs in containers (commands.exec)",
            ));
        }
        Ok(())
    }

    /// Whether objects of a kind may be deployed to `namespace`; `object` names the object, which has a namespace or
    /// has none (`namespaced`).
    pub(in crate::agent) fn check_kind(
        &self,
        group: &str,
        kind: &str,
        namespaced: bool,
        namespace: &str,
        object: &str,
    ) -> Result<(), CommandError> {
        let full = format!("{kind}.{group}");
        let named = self.0.kinds.iter().any(|own| own == kind || *own == full);
        let own_namespace = kind == "Namespace" && group.is_empty() && object == namespace;
        let everywhere = self.is_all(&self.0.namespaces);
        if named || self.is_all(&self.0.kinds) && (namespaced || everywhere || own_namespace) {
            return Ok(());
        }
        let why = if self.is_all(&self.0.kinds) {
            "belongs to no namespace, and this agent's commands are held to some (commands.namespaces, commands.kinds)"
        } else {
            "is not among the kinds that this agent deploys (commands.kinds)"
        };
        Err(forbidden(&format!("{kind} '{object}' {why}")))
    }

    fn is_all(&self, list: &[String]) -> bool {
        list.iter().any(|entry| entry == ALL)
    }
}

fn forbidden(message: &str) -> CommandError {
    CommandError {
        code: ErrorCode::Forbidden.as_str().to_owned(),
        message: message.to_owned(),
        ..CommandError::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(change: impl FnOnce(&mut CommandsConfig)) -> Policy {
        let mut config = CommandsConfig::default();
        change(&mut config);
        Policy::new(&config)
    }

    #[test]
    fn by_default_everything_may_be_done() {
        let policy = policy(|_| {});
        policy.check_exec("shop").unwrap();
        policy
            .check_kind(
                "rbac.authorization.k8s.io",
                "ClusterRole",
                false,
                "shop",
                "x",
            )
            .unwrap();
    }

    #[test]
    fn each_setting_takes_something_away_and_is_named() {
        let of = |error: CommandError| error.message;
        let error = policy(|c| c.enabled = false).check_read("a").unwrap_err();
        assert!(of(error).contains("commands.enabled"));
        let reading = policy(|c| c.read_only = true);
        reading.check_read("a").unwrap();
        assert!(of(reading.check_write("a").unwrap_err()).contains("commands.read_only"));
        let quiet = policy(|c| c.exec = false);
        quiet.check_write("a").unwrap();
        assert!(of(quiet.check_exec("a").unwrap_err()).contains("commands.exec"));
        let here = policy(|c| c.namespaces = vec!["a".into()]);
        here.check_write("a").unwrap();
        assert!(of(here.check_read("b").unwrap_err()).contains("commands.namespaces"));
    }

    #[test]
    fn a_cluster_that_is_served_read_only_is_so_for_commands() {
        let mut config = AgentConfig::default();
        Policy::of(&config).check_write("a").unwrap();
        config.kubernetes.read_only = true;
        Policy::of(&config).check_read("a").unwrap();
        Policy::of(&config).check_write("a").unwrap_err();
    }

    #[test]
    fn kinds_are_named_with_their_group_or_without() {
        let some = policy(|c| c.kinds = vec!["Deployment.apps".into(), "Service".into()]);
        some.check_kind("apps", "Deployment", true, "a", "x")
            .unwrap();
        some.check_kind("", "Service", true, "a", "x").unwrap();
        for (group, kind) in [("other", "Deployment"), ("", "Secret")] {
            let error = some.check_kind(group, kind, true, "a", "x").unwrap_err();
            assert!(error.message.contains("commands.kinds"), "{error:?}");
        }
    }

    #[test]
    fn what_has_no_namespace_is_to_be_named_where_namespaces_are() {
        let here = policy(|c| c.namespaces = vec!["a".into()]);
        here.check_kind("", "Namespace", false, "a", "a").unwrap();
        here.check_kind("", "Namespace", false, "a", "b")
            .unwrap_err();
        here.check_kind(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            false,
            "a",
            "x",
        )
        .unwrap_err();
        let named = policy(|c| {
            c.namespaces = vec!["a".into()];
            c.kinds = vec!["*".into(), "CustomResourceDefinition".into()];
        });
        named
            .check_kind(
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                false,
                "a",
                "x",
            )
            .unwrap();
    }
}
