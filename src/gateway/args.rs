//! The gateway's command line: what clap parses, and what it makes of the configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use secrecy::SecretString;

use super::cli::kubeconfig::{KubeconfigArgs, PublicAddress};
use super::cli::token::TokenCommand;
use super::cli::{CliError, Output};
use super::config::GatewayConfig;
use super::operator::{Operator, OperatorError};
use super::run::GatewayError;
use crate::config::{ConfigError, LogConfig, LogFormat, Period, load};
use crate::process::Failure;

/// Read when no file is named and this one exists.
const DEFAULT_FILE: &str = "/etc/pipeops/gateway.yaml";

/// Commands are for terminals: they show what needs attention, and no more.
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

Settings: a flag wins over its variable, that over the file, and that over the default.
Commands work on the state folder, whether the gateway runs or not: give them the same --config,
or the same --state-dir and --public-url.

Signals: SIGTERM and SIGINT drain: agents are told to go elsewhere, requests under way end. A second
one ends at once.

Exit codes: 0 success, 1 failure, 2 bad arguments or configuration, 130 or 143 ended by a second signal.";

/// The public side of the PipeOps tunnel: lets kubectl, curl and browsers reach clusters that only dial out
///
/// Without a command it runs the gateway.
#[derive(Debug, Clone, Parser)]
#[command(name = "pipeops-gateway", version, after_help = EXAMPLES, max_term_width = 110)]
#[command(disable_help_subcommand = true, subcommand_help_heading = "Commands")]
pub struct GatewayArgs {
    /// YAML file with the settings [default: /etc/pipeops/gateway.yaml, if it exists]
    #[arg(
        long,
        value_name = "FILE",
        env = "PIPEOPS_GATEWAY_CONFIG",
        hide_env_values = true,
        global = true
    )]
    pub config: Option<PathBuf>,
    /// Folder of the store, the admin socket and a self-signed CA [default: /var/lib/pipeops-gateway]
    #[arg(
        long,
        value_name = "DIR",
        env = "PIPEOPS_GATEWAY_STATE_DIR",
        hide_env_values = true,
        global = true
    )]
    pub state_dir: Option<PathBuf>,
    /// How clients reach the gateway, for kubeconfigs [default: https://DOMAIN and the listener's port]
    #[arg(
        long,
        value_name = "URL",
        env = "PIPEOPS_GATEWAY_PUBLIC_URL",
        hide_env_values = true,
        global = true
    )]
    pub public_url: Option<String>,
    /// error, warn, info, debug, trace, or a filter such as info,pipeops_tunnel::mux=debug [default: info]
    #[arg(
        long,
        value_name = "LEVEL",
        env = "LOG_LEVEL",
        hide_env_values = true,
        global = true
    )]
    pub log_level: Option<String>,
    /// text or json, on standard error [default: text]
    #[arg(
        long,
        value_name = "FORMAT",
        env = "LOG_FORMAT",
        hide_env_values = true,
        global = true
    )]
    pub log_format: Option<LogFormat>,
    /// Address of the public listener [default: 0.0.0.0:8443]
    #[arg(
        long,
        value_name = "ADDR:PORT",
        env = "PIPEOPS_GATEWAY_LISTEN",
        hide_env_values = true
    )]
    pub listen: Option<SocketAddr>,
    /// Clusters have the hosts tunnel-CLUSTER_ID.DOMAIN [default: pipeops.localhost]
    #[arg(
        long,
        value_name = "DOMAIN",
        env = "PIPEOPS_GATEWAY_DOMAIN",
        hide_env_values = true
    )]
    pub domain: Option<String>,
    /// Certificate chain, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "PIPEOPS_GATEWAY_TLS_CERT",
        hide_env_values = true
    )]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "PIPEOPS_GATEWAY_TLS_KEY",
        hide_env_values = true
    )]
    pub tls_key: Option<PathBuf>,
    /// Make a CA (STATE_DIR/ca.crt) and a certificate instead, for a trial
    #[arg(
        long,
        value_name = "BOOL",
        env = "PIPEOPS_GATEWAY_SELF_SIGNED",
        hide_env_values = true
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub self_signed: Option<bool>,
    /// Worker threads [default: one for each core]
    #[arg(
        long,
        value_name = "N",
        env = "PIPEOPS_GATEWAY_THREADS",
        hide_env_values = true
    )]
    pub threads: Option<usize>,
    /// How long a drain waits for requests under way [default: 30s]
    #[arg(
        long,
        value_name = "TIME",
        env = "PIPEOPS_GATEWAY_DRAIN_TIMEOUT",
        hide_env_values = true
    )]
    pub drain_timeout: Option<Period>,
    /// What to do instead of running the gateway
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program can do besides running the gateway.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Write a kubeconfig for a cluster: kubectl then works through the gateway
    Kubeconfig(KubeconfigArgs),
    /// Print the version
    Version,
}

impl GatewayArgs {
    /// The configuration: flags and variables over the file over the defaults. Not validated:
    /// commands need less of it than the gateway.
    ///
    /// # Errors
    /// [`ConfigError`] when the file can not be used.
    pub fn config(&self) -> Result<GatewayConfig, ConfigError> {
        let default = Path::new(DEFAULT_FILE);
        let file = self
            .config
            .as_deref()
            .or_else(|| default.exists().then_some(default));
        let mut config = file.map(load).transpose()?.unwrap_or_default();
        self.apply(&mut config);
        Ok(config)
    }

    fn apply(&self, config: &mut GatewayConfig) {
        set(&mut config.listen, &self.listen);
        set(&mut config.domain, &self.domain);
        set(&mut config.state_dir, &self.state_dir);
        set(&mut config.drain_timeout, &self.drain_timeout);
        set(&mut config.log.level, &self.log_level);
        set(&mut config.log.format, &self.log_format);
        config.public_url = self.public_url.clone().or_else(|| config.public_url.take());
        config.threads = self.threads.or(config.threads);
        // Either way to a certificate, when asked for here, replaces the file's other way.
        if self.tls_cert.is_some() || self.tls_key.is_some() {
            config.tls.self_signed = false;
        }
        if self.self_signed == Some(true) {
            (config.tls.cert_file, config.tls.key_file) = (None, None);
        }
        set(&mut config.tls.self_signed, &self.self_signed);
        config.tls.cert_file = self
            .tls_cert
            .clone()
            .or_else(|| config.tls.cert_file.take());
        config.tls.key_file = self.tls_key.clone().or_else(|| config.tls.key_file.take());
    }

    /// How commands log.
    #[must_use]
    pub fn command_log(&self) -> LogConfig {
        LogConfig {
            level: self
                .log_level
                .clone()
                .unwrap_or_else(|| COMMAND_LOG_LEVEL.to_owned()),
            format: self.log_format.unwrap_or_default(),
        }
    }
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Failure`], with a message for the terminal.
    pub async fn run(&self, config: &GatewayConfig) -> Result<Output, Failure> {
        let open = || Operator::open(&config.state_dir);
        match self {
            Self::Token(command) => Ok(command.run(&open().await?).await?),
            Self::Kubeconfig(args) => {
                Ok(args.run(&open().await?, &public_address(config)?).await?)
            }
            Self::Version => {
                let version = concat!("pipeops-gateway ", env!("CARGO_PKG_VERSION"));
                Ok(Output {
                    result: SecretString::from(version),
                    hints: Vec::new(),
                })
            }
        }
    }
}

/// Where users reach the gateway, and what makes them trust it.
fn public_address(config: &GatewayConfig) -> Result<PublicAddress, CliError> {
    // A gateway that was started with --self-signed left its CA; the flag may be missing here.
    let own = config.state_dir.join("ca.crt");
    let own = (config.tls.cert_file.is_none() && own.exists()).then_some(own);
    let read = |path: PathBuf| {
        std::fs::read_to_string(&path).map_err(|source| CliError::File { path, source })
    };
    let ca_pem = config.ca_file().or(own).map(read).transpose()?;
    Ok(PublicAddress {
        url: config.public_url(),
        ca_pem,
    })
}

fn set<T: Clone>(value: &mut T, given: &Option<T>) {
    if let Some(given) = given {
        value.clone_from(given);
    }
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        if matches!(error, GatewayError::Config(_)) {
            Self::usage(&error)
        } else {
            Self::failed(&error)
        }
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

    fn config(args: &[&str]) -> GatewayConfig {
        GatewayArgs::try_parse_from([&["pipeops-gateway"], args].concat())
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
        use clap::CommandFactory;
        GatewayArgs::command().debug_assert();
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = file("domain: of.file\nthreads: 3\ndrain_timeout: 5s\nlog: {format: json}\n");
        let path = file.path().to_str().unwrap();
        let config = config(&[
            "--config",
            path,
            "--domain",
            "of.flag",
            "--log-level",
            "debug",
        ]);
        assert_eq!(
            (config.domain.as_str(), config.threads),
            ("of.flag", Some(3))
        );
        assert_eq!(
            (config.drain_timeout, config.log.format),
            (Period::from_secs(5), LogFormat::Json)
        );
        assert_eq!(config.log.level, "debug");
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
        assert!(
            config(&["--self-signed", "--tls-cert", "c", "--tls-key", "k"])
                .validate()
                .is_err()
        );
        assert!(
            !config(&["--config", path, "--self-signed=false"])
                .tls
                .self_signed
        );
    }

    #[test]
    fn a_file_that_is_named_must_be_there() {
        let args =
            GatewayArgs::try_parse_from(["pipeops-gateway", "--config", "/nowhere.yaml"]).unwrap();
        assert!(args.config().is_err());
    }

    #[test]
    fn commands_take_the_settings_after_them() {
        let args = ["pipeops-gateway", "token", "list", "--state-dir", "/s"];
        let args = GatewayArgs::try_parse_from(args).unwrap();
        assert_eq!(args.config().unwrap().state_dir, Path::new("/s"));
        assert_eq!(args.command_log().level, "warn");
    }
}
