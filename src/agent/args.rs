//! The agent's command line: what clap parses, and what it makes of it.

use clap::{Command as Clap, Subcommand};

use super::config::AgentConfig;
use super::doctor::DoctorArgs;
use super::run::AgentError;
use crate::config::cli::ConfigCommand;
use crate::config::{Inputs, flags};
use crate::process::Failure;

const EXAMPLES: &str = "\
Examples:
  In a cluster, with the pod's own account for the Kubernetes API:
    pipeops-agent --api-url https://pipeops.example.com --token-file /secrets/token

  On a laptop, for the cluster of a kubeconfig, and a gateway with a CA of its own:
    pipeops-agent --api-url https://127.0.0.1:8443 --ca-file state/ca.crt \\
        --token-file agent.token --kubeconfig ~/.kube/config

  With everything in a file, which is checked first:
    pipeops-agent validate --config config.yaml
    pipeops-agent --config config.yaml

    pipeops:
      api_url: https://pipeops.example.com
      token_file: /secrets/token
    tunnel:
      forwards:
      - name: grafana
        local_addr: grafana.monitoring.svc:80

The agent only dials out, and connects again for ever: a gateway that does not answer, or refuses
the token, is in the log and never ends it.

Settings: a flag wins over a variable, that over the file, and that over the default. Each key of
the file also has a variable: PIPEOPS__ and its path, as in PIPEOPS__TUNNEL__ENABLED=false.
PIPEOPS_TOKEN holds the token itself (there is no flag for it: arguments are public). What comes
from where: pipeops-agent config print.

Signals: SIGHUP reads the file again, as does changing it. SIGTERM and SIGINT drain: the gateway
sends nothing new, requests under way end. A second one ends at once.

Exit codes: 0 success, 1 failure, 2 bad arguments or configuration, 130 or 143 ended by a second signal.";

const ABOUT: &str =
    "The PipeOps tunnel's side in a cluster: dials out to a gateway, and lets its users in";

const MORE: &str =
    "What they may reach is what this configuration names; as whom, and whether only to read, too.";

/// The agent's command line.
#[derive(Debug, Clone)]
pub struct AgentArgs {
    /// What the configuration is made of.
    pub inputs: Inputs,
    /// What to do instead of running the agent.
    pub command: Option<Command>,
}

/// What the program can do besides running the agent.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Look at everything that an agent needs, and say what to do: exit code 0 if nothing has failed
    ///
    /// It disturbs no agent that runs.
    Doctor(DoctorArgs),
    /// What both programs can do with their configuration.
    #[command(flatten)]
    Config(ConfigCommand),
}

impl AgentArgs {
    /// What clap parses.
    #[must_use]
    pub fn command() -> Clap {
        let about = flags::About {
            line: ABOUT,
            more: MORE,
            examples: EXAMPLES,
        };
        flags::command::<AgentConfig, Command>(about)
    }

    /// Reads the command line and the environment; ends the process where clap does.
    #[must_use]
    pub fn from_process() -> Self {
        let (inputs, command) = flags::from_process::<AgentConfig, Command>(Self::command());
        Self { inputs, command }
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Config(problems) => problems.into(),
            AgentError::Setup(_) => Self::usage(&error),
            AgentError::Admin(_) | AgentError::Metrics(_) | AgentError::Thread(_) => {
                Self::failed(&error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::config::LogFormat;

    fn config(token: Option<&str>, args: &[&str]) -> AgentConfig {
        let matches = AgentArgs::command().get_matches_from([&["pipeops-agent"], args].concat());
        let variables = token.map(|token| (OsString::from("PIPEOPS_TOKEN"), token.into()));
        let inputs = Inputs::new::<AgentConfig>(&matches, variables);
        inputs.load().unwrap().config
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_command_line_is_sound() {
        AgentArgs::command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = file(
            "agent: {cluster_name: of-file, cluster_id: c1}\npipeops: {api_url: 'https://f'}\n",
        );
        let path = file.path().to_str().unwrap();
        let args = [
            "--config",
            path,
            "--cluster-name",
            "of-flag",
            "--log-format",
            "json",
        ];
        let config = config(None, &args);
        assert_eq!(config.agent.cluster_name.as_deref(), Some("of-flag"));
        assert_eq!(config.agent.cluster_id.as_deref(), Some("c1"));
        assert_eq!(config.pipeops.api_url.as_deref(), Some("https://f"));
        assert_eq!(config.log.format, LogFormat::Json);
    }

    #[test]
    fn one_form_of_the_token_replaces_the_other() {
        let files = [
            file("pipeops: {token_file: /of/file}"),
            file("pipeops: {token: of-file}"),
        ];
        for file in &files {
            let path = file.path().to_str().unwrap();
            let by_variable = config(Some("of-env\n"), &["--config", path]).pipeops;
            assert_eq!(by_variable.token.unwrap().expose(), "of-env");
            assert_eq!(by_variable.token_file, None);
            let args = ["--config", path, "--token-file", "/of/flag"];
            let by_flag = config(Some("of-env"), &args).pipeops;
            assert!(by_flag.token.is_none());
            assert_eq!(by_flag.token_file.as_deref(), Some(Path::new("/of/flag")));
        }
    }

    #[test]
    fn an_empty_token_is_none() {
        let file = file("pipeops: {token_file: /of/file}");
        let config = config(Some(""), &["--config", file.path().to_str().unwrap()]);
        let path = config.pipeops.token_file;
        assert_eq!(path.as_deref(), Some(Path::new("/of/file")));
    }

    #[test]
    fn no_flag_takes_a_token() {
        let args = ["pipeops-agent", "--token", "pipeops_agent_x"];
        assert!(AgentArgs::command().try_get_matches_from(args).is_err());
    }
}
