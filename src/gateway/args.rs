//! The gateway's command line: what clap parses, and what it makes of the configuration.

use std::path::PathBuf;

use clap::{Command as Clap, Subcommand};

use super::cli::forward::{ForwardArgs, Surroundings};
use super::cli::kubeconfig::{KubeconfigArgs, PublicAddress};
use super::cli::store::StoreCommand;
use super::cli::token::TokenCommand;
use super::cli::{CliError, Output};
use super::config::GatewayConfig;
use super::operator::{Operator, OperatorError};
use super::run::GatewayError;
use crate::config::cli::ConfigCommand;
use crate::config::{Inputs, Loaded, LogConfig, LogFormat, Origin, Path, flags, init_logging};
use crate::process::Failure;

const COMMAND_LOG_LEVEL: &str = "warn";

const EXAMPLES: &str = "\
Examples:
  Try it on one machine, with a certificate of its own making:
    pipeops-gateway --self-signed --state-dir state --listen 127.0.0.1:8443 \\
        --public-url https://127.0.0.1:8443

  Run it for real: the certificate is for DOMAIN and *.DOMAIN, and is read again when it changes:
    pipeops-gateway --domain pipeops.example.com --listen 0.0.0.0:443 \\
        --tls-cert /etc/tls/tls.crt --tls-key /etc/tls/tls.key

  Register a cluster, and let its agent connect (the token is printed once):
    umask 077; pipeops-gateway token create agent --cluster production > agent.token

  Let yourself in; kubectl then works through the gateway:
    pipeops-gateway kubeconfig production --role viewer --expires 12h
    kubectl --kubeconfig production.kubeconfig get pods

  Reach a database in the cluster, which its agent forwards as `db` with protocol tcp:
    pipeops-gateway forward production db --local 5432 \\
        --public-url https://pipeops.example.com --token-file me.token
    psql -h 127.0.0.1 -p 5432

  Back up what the gateway keeps while it runs; look at it, or put it back, while it does not:
    pipeops-gateway store backup gateway.backup
    pipeops-gateway store check
    pipeops-gateway store restore gateway.backup --force

Settings: a flag wins over a variable, that over the file, and that over the default. Each key of
the file also has a variable: PIPEOPS__ and its path, as in PIPEOPS__TLS__SELF_SIGNED=true. What is
wrong, and what comes from where: pipeops-gateway validate, pipeops-gateway config print.
Commands work on the state folder, most of them whether the gateway runs or not: give them the same
--config, or the same --state-dir and --public-url.

Signals: SIGHUP reads the file again, as does changing it. SIGTERM and SIGINT drain: agents are told to go elsewhere, requests under way end. A second
one ends at once.

Exit codes: 0 success, 1 failure, 2 bad arguments or configuration, 130 or 143 ended by a second signal.";

const ABOUT: &str = "The public side of the PipeOps tunnel: lets kubectl, curl and browsers reach clusters that only dial out";

/// The gateway's command line.
#[derive(Debug, Clone)]
pub struct GatewayArgs {
    /// What the configuration is made of.
    pub inputs: Inputs,
    /// What to do instead of running the gateway.
    pub command: Option<Command>,
}

/// What the program can do besides running the gateway.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// What is done to the state folder.
    #[command(flatten)]
    Operate(OperateCommand),
    /// Open a local port that leads to a tcp or udp service in a cluster
    Forward(ForwardArgs),
    /// What both programs can do with their configuration.
    #[command(flatten)]
    Config(ConfigCommand),
}

/// The commands that work on the state folder.
#[derive(Debug, Clone, Subcommand)]
pub enum OperateCommand {
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Write a kubeconfig for a cluster: kubectl then works through the gateway
    Kubeconfig(KubeconfigArgs),
    /// Back up, restore and check what the gateway keeps
    #[command(subcommand)]
    Store(StoreCommand),
}

impl GatewayArgs {
    /// What clap parses.
    #[must_use]
    pub fn command() -> Clap {
        let about = flags::About {
            line: ABOUT,
            more: "Without a command it runs the gateway.",
            examples: EXAMPLES,
        };
        flags::command::<GatewayConfig, Command>(about).subcommand_help_heading("Commands")
    }

    /// Reads the command line and the environment; ends the process where clap does.
    #[must_use]
    pub fn from_process() -> Self {
        let (inputs, command) = flags::from_process::<GatewayConfig, Command>(Self::command());
        Self { inputs, command }
    }
}

impl OperateCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`], with a message for the terminal.
    pub async fn run(&self, inputs: &Inputs) -> Result<Output, Failure> {
        let loaded: Loaded<GatewayConfig> = inputs.load()?;
        let config = &loaded.config;
        init_logging(&command_log(&loaded))?;
        let operator = || Operator::open(&config.state_dir);
        match self {
            Self::Token(command) => Ok(command.run(&operator().await?).await?),
            Self::Kubeconfig(args) => Ok(args
                .run(&operator().await?, &public_address(config)?)
                .await?),
            Self::Store(command) => Ok(command.run(&config.state_dir).await?),
        }
    }
}

/// What `forward` takes of the configuration; `tell` and `warn` write lines for the user.
///
/// # Errors
/// [`Failure`], with a message for the terminal.
pub fn surroundings(
    inputs: &Inputs,
    tell: fn(&str),
    warn: fn(&str),
) -> Result<Surroundings, Failure> {
    let loaded: Loaded<GatewayConfig> = inputs.load()?;
    init_logging(&command_log(&loaded))?;
    Ok(Surroundings {
        url: loaded.config.public_url(),
        ca_file: ca_file(&loaded.config),
        drain: loaded.config.drain_timeout.0,
        tell,
        warn,
    })
}

/// Commands are for terminals: they show what needs attention, and no more, unless they are told
/// otherwise themselves. The file speaks of the gateway.
fn command_log(loaded: &Loaded<GatewayConfig>) -> LogConfig {
    let told = |path| {
        let origin = loaded.origin(&Path::dotted(path));
        matches!(origin, Origin::Variable(_) | Origin::Flag(_))
    };
    let log = &loaded.config.log;
    LogConfig {
        level: if told("log.level") {
            log.level.clone()
        } else {
            COMMAND_LOG_LEVEL.to_owned()
        },
        format: if told("log.format") {
            log.format
        } else {
            LogFormat::default()
        },
    }
}

/// Where users reach the gateway, and what makes them trust it.
fn public_address(config: &GatewayConfig) -> Result<PublicAddress, CliError> {
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).map_err(|source| CliError::File { path, source })
    };
    let ca_pem = ca_file(config).map(read).transpose()?;
    Ok(PublicAddress {
        url: config.public_url(),
        ca_pem,
    })
}

/// The gateway's own CA, if no public one signed.
fn ca_file(config: &GatewayConfig) -> Option<PathBuf> {
    // A gateway that was started with --self-signed left its CA; the flag may be missing here.
    let own = config.state_dir.join("ca.crt");
    let own = (config.tls.cert_file.is_none() && own.exists()).then_some(own);
    config.ca_file().or(own)
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        if let GatewayError::Config(problems) = error {
            return problems.into();
        }
        Self::failed(&error)
    }
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        Self::failed(&error)
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        Self::failed(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use crate::config::{Period, Problems};

    fn load(args: &[&str]) -> Result<Loaded<GatewayConfig>, Problems> {
        let args = [&["pipeops-gateway"], args].concat();
        let matches = GatewayArgs::command().try_get_matches_from(args).unwrap();
        Inputs::new::<GatewayConfig>(&matches, []).load()
    }

    fn config(args: &[&str]) -> GatewayConfig {
        load(args).unwrap().config
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn the_command_line_is_sound() {
        GatewayArgs::command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = file("domain: of.file\nthreads: 3\ndrain_timeout: 5s\nlog: {format: json}\n");
        let path = file.path().to_str().unwrap();
        let args = [
            "--config",
            path,
            "--domain",
            "of.flag",
            "--log-level",
            "debug",
        ];
        let config = config(&args);
        assert_eq!(
            (config.domain.as_str(), config.threads),
            ("of.flag", Some(3))
        );
        assert_eq!(config.drain_timeout, Period::from_secs(5));
        assert_eq!(
            (config.log.level.as_str(), config.log.format),
            ("debug", LogFormat::Json)
        );
        assert_eq!(config.listen, GatewayConfig::default().listen);
    }

    #[test]
    fn a_certificate_asked_for_replaces_the_other_way_to_one() {
        let own = file("tls: {self_signed: true}");
        let path = own.path().to_str().unwrap();
        let given = config(&["--config", path, "--tls-cert", "c", "--tls-key", "k"]);
        assert!(given.validate().is_ok() && !given.tls.self_signed);
        let files = file("tls: {cert_file: c, key_file: k}");
        let path = files.path().to_str().unwrap();
        let given = config(&["--config", path, "--self-signed"]);
        assert!(given.validate().is_ok() && given.tls.self_signed);
        let both = ["--self-signed", "--tls-cert", "c", "--tls-key", "k"];
        assert!(config(&both).validate().is_err());
        let not = config(&["--config", path, "--self-signed=false"]);
        assert!(not.validate().is_ok() && !not.tls.self_signed);
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        assert!(load(&["--config", "/nowhere.yaml"]).is_err());
    }

    #[test]
    fn commands_take_the_settings_after_them() {
        let file = file("log: {level: debug}");
        let path = file.path().to_str().unwrap();
        let args = ["token", "list", "--state-dir", "/s", "--config", path];
        let loaded = load(&args).unwrap();
        assert_eq!(loaded.config.state_dir.to_str(), Some("/s"));
        assert_eq!(command_log(&loaded).level, "warn");
        let loaded = load(&["--log-level", "trace", "token", "list"]).unwrap();
        assert_eq!(command_log(&loaded).level, "trace");
    }
}
