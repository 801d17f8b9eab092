//! The agent's command line: what clap parses, and what it makes of the configuration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::config::AgentConfig;
use super::doctor::DoctorArgs;
use super::run::AgentError;
use crate::config::{ConfigError, LogFormat, Secret, load};
use crate::process::Failure;

/// Read when no file is named: the first that exists.
const DEFAULT_FILES: [&str; 2] = ["/config/config.yaml", "/etc/pipeops/config.yaml"];

/// Holds the token itself; there is no flag for it, since every user of a machine sees arguments.
const TOKEN_VARIABLE: &str = "PIPEOPS_TOKEN";

const EXAMPLES: &str = "\
Examples:
  In a cluster, with the pod's own account for the Kubernetes API:
    pipeops-agent --api-url https://pipeops.example.com --token-file /secrets/token

  On a laptop, for the cluster of a kubeconfig, and a gateway with a CA of its own:
    pipeops-agent --api-url https://127.0.0.1:8443 --ca-file state/ca.crt \\
        --token-file agent.token --kubeconfig ~/.kube/config

  With everything in a file:
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

Variables: PIPEOPS_TOKEN holds the token itself (there is no flag for it: arguments are public).
Settings: a flag wins over its variable, that over the file, and that over the default.

Signals: SIGTERM and SIGINT drain: the gateway sends nothing new, requests under way end. A second
one ends at once.

Exit codes: 0 success, 1 failure, 2 bad arguments or configuration, 130 or 143 ended by a second signal.";

/// The PipeOps tunnel's side in a cluster: dials out to a gateway, and lets its users in
///
/// What they may reach is what this configuration names; as whom, and whether only to read, too.
#[derive(Debug, Clone, Parser)]
#[command(name = "pipeops-agent", version, after_help = EXAMPLES, max_term_width = 110)]
#[command(disable_help_subcommand = true)]
pub struct AgentArgs {
    /// YAML file with the settings [default: /config/config.yaml or /etc/pipeops/config.yaml, if there]
    #[arg(
        long,
        value_name = "FILE",
        env = "PIPEOPS_AGENT_CONFIG",
        hide_env_values = true
    )]
    pub config: Option<PathBuf>,
    /// The gateway, such as `https://pipeops.example.com`
    #[arg(
        long,
        value_name = "URL",
        env = "PIPEOPS_API_URL",
        hide_env_values = true
    )]
    pub api_url: Option<String>,
    /// A file with the agent's token, read again for each connection
    #[arg(
        long,
        value_name = "FILE",
        env = "PIPEOPS_TOKEN_FILE",
        hide_env_values = true
    )]
    pub token_file: Option<PathBuf>,
    /// The only CA that may have signed the gateway's certificate, PEM [default: the system's]
    #[arg(
        long,
        value_name = "FILE",
        env = "PIPEOPS_CA_FILE",
        hide_env_values = true
    )]
    pub ca_file: Option<PathBuf>,
    /// The cluster's name, for logs; the gateway knows it by the token
    #[arg(
        long,
        value_name = "NAME",
        env = "CLUSTER_NAME",
        hide_env_values = true
    )]
    pub cluster_name: Option<String>,
    /// The cluster's id; with it, the gateway refuses the token of another cluster
    #[arg(long, value_name = "ID", env = "CLUSTER_ID", hide_env_values = true)]
    pub cluster_id: Option<String>,
    /// Reach Kubernetes by this file [default: $KUBECONFIG, ~/.kube/config or the pod's account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// error, warn, info, debug, trace, or a filter such as info,pipeops_tunnel::mux=debug [default: info]
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL", hide_env_values = true)]
    pub log_level: Option<String>,
    /// text or json, on standard error [default: text]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "LOG_FORMAT",
        hide_env_values = true
    )]
    pub log_format: Option<LogFormat>,
    /// What to do instead of running the agent
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The token, when the environment holds it and no flag names a file.
    #[arg(skip)]
    token: Option<Secret>,
}

/// What the program can do besides running the agent.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Look at everything that an agent needs, and say what to do: exit code 0 if nothing has failed
    ///
    /// It disturbs no agent that runs.
    Doctor(DoctorArgs),
    /// Print the version
    Version,
}

impl AgentArgs {
    /// Reads the command line and the environment; ends the process where clap does.
    #[must_use]
    pub fn from_process() -> Self {
        let matches = Self::command().get_matches();
        Self::read(&matches, std::env::var_os(TOKEN_VARIABLE)).unwrap_or_else(|error| error.exit())
    }

    fn read(matches: &ArgMatches, token: Option<OsString>) -> Result<Self, clap::Error> {
        let mut args = Self::from_arg_matches(matches)?;
        let token = token.filter(|token| !token.is_empty());
        let flag = matches.value_source("token_file") == Some(ValueSource::CommandLine);
        if let Some(token) = token.filter(|_| !flag) {
            args.token = Some(Secret::new(token.to_string_lossy().trim()));
        }
        Ok(args)
    }

    /// The configuration: flags and variables over the file over the defaults. Not validated.
    ///
    /// # Errors
    /// [`ConfigError`] when the file can not be used.
    pub fn config(&self) -> Result<AgentConfig, ConfigError> {
        let mut config = self
            .config_file()
            .map(load)
            .transpose()?
            .unwrap_or_default();
        self.apply(&mut config);
        Ok(config)
    }

    /// The configuration's file, where there is one.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        let default = DEFAULT_FILES
            .map(Path::new)
            .into_iter()
            .find(|path| path.exists());
        self.config.as_deref().or(default)
    }

    fn apply(&self, config: &mut AgentConfig) {
        // A token given here, in either form, replaces the file's.
        if self.token.is_some() || self.token_file.is_some() {
            config.pipeops.token.clone_from(&self.token);
            config.pipeops.token_file.clone_from(&self.token_file);
        }
        replace(&mut config.pipeops.api_url, &self.api_url);
        replace(&mut config.pipeops.ca_file, &self.ca_file);
        replace(&mut config.agent.cluster_name, &self.cluster_name);
        replace(&mut config.agent.cluster_id, &self.cluster_id);
        replace(&mut config.kubernetes.kubeconfig, &self.kubeconfig);
        if let Some(level) = &self.log_level {
            config.log.level.clone_from(level);
        }
        config.log.format = self.log_format.unwrap_or(config.log.format);
    }
}

fn replace<T: Clone>(value: &mut Option<T>, given: &Option<T>) {
    if given.is_some() {
        value.clone_from(given);
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        match error {
            AgentError::Config(_) | AgentError::Setup(_) => Self::usage(&error),
            AgentError::Admin(_) | AgentError::Metrics(_) | AgentError::Thread(_) => {
                Self::failed(&error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(token: Option<&str>, args: &[&str]) -> AgentConfig {
        let matches = AgentArgs::command().get_matches_from([&["pipeops-agent"], args].concat());
        AgentArgs::read(&matches, token.map(OsString::from))
            .unwrap()
            .config()
            .unwrap()
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
        let config = config(
            None,
            &[
                "--config",
                path,
                "--cluster-name",
                "of-flag",
                "--log-format",
                "json",
            ],
        );
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
            let by_flag = config(
                Some("of-env"),
                &["--config", path, "--token-file", "/of/flag"],
            )
            .pipeops;
            assert!(by_flag.token.is_none());
            assert_eq!(by_flag.token_file.as_deref(), Some(Path::new("/of/flag")));
        }
    }

    #[test]
    fn an_empty_token_is_none() {
        let file = file("pipeops: {token_file: /of/file}");
        let config = config(Some(""), &["--config", file.path().to_str().unwrap()]);
        assert_eq!(
            config.pipeops.token_file.as_deref(),
            Some(Path::new("/of/file"))
        );
    }

    #[test]
    fn no_flag_takes_a_token() {
        assert!(
            AgentArgs::try_parse_from(["pipeops-agent", "--token", "pipeops_agent_x"]).is_err()
        );
    }
}
