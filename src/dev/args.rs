//! The command line of `pipeops-dev`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use super::run::DevOptions;
use crate::config::{LogConfig, LogFormat};

const NOTES: &str = "\
It prints where everything is and lines to paste. Nothing is installed, and nothing but the state
folder is written; it holds a CA of its own, tokens and the store, and is used again next time.

Requests to the Kubernetes cluster are made as yourself: as whoever your kubeconfig says. Therefore
only requests that read pass, unless --allow-write is given.

Signals: Ctrl-C and SIGTERM drain: requests under way end. A second one ends at once.

Exit codes: 0 success, 1 failure, 2 bad arguments, 130 or 143 ended by a second signal.";

/// The whole PipeOps tunnel in one process, to try it: gateway, agent, a demo service, and your cluster
///
/// The cluster is that of $KUBECONFIG, ~/.kube/config or the pod's own account, if it answers.
#[derive(Debug, Clone, Parser)]
#[command(name = "pipeops-dev", version, after_help = NOTES, max_term_width = 110)]
pub struct DevArgs {
    /// Where to keep CA, tokens and store [default: $XDG_STATE_HOME/pipeops-dev or
    /// ~/.local/state/pipeops-dev]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Address of the gateway [default: 127.0.0.1:8443, or a free port if that is taken]
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Let requests change things in the Kubernetes cluster, too
    #[arg(long)]
    pub allow_write: bool,
    /// The kubeconfig to use [default: $KUBECONFIG, ~/.kube/config or the pod's own account]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context to use of it [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// Leave Kubernetes out, even if a cluster answers
    #[arg(long, conflicts_with_all = ["allow_write", "kubeconfig", "context"])]
    pub no_kubernetes: bool,
    /// error, warn, info, debug, trace, or a filter such as info,pipeops_tunnel::mux=debug
    #[arg(
        long,
        value_name = "LEVEL",
        env = "LOG_LEVEL",
        hide_env_values = true,
        default_value = "warn"
    )]
    pub log_level: String,
    /// text or json, on standard error
    #[arg(
        long,
        value_name = "FORMAT",
        env = "LOG_FORMAT",
        hide_env_values = true,
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

impl DevArgs {
    /// What to run.
    #[must_use]
    pub fn options(&self) -> DevOptions {
        DevOptions {
            state_dir: self.state_dir.clone(),
            listen: self.listen,
            allow_write: self.allow_write,
            kubernetes: !self.no_kubernetes,
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
        }
    }

    /// How to log.
    #[must_use]
    pub fn log(&self) -> LogConfig {
        LogConfig {
            level: self.log_level.clone(),
            format: self.log_format,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        DevArgs::command().debug_assert();
    }
}
