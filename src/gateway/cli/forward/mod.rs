//! `forward`: a local port that leads to a service in a cluster, through the gateway's public
//! address and with a user's token. Needs no state folder: it runs wherever the user is.

mod client;
mod listen;
mod local;
mod udp;

use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use tokio::task::LocalSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use client::ForwardError;
use client::{Client, Token};
use listen::Listening;
pub use local::{Local, LocalError};

use crate::process::{Failure, Signals};
use crate::wire::raw::RawProtocol;
use crate::wire::token::{ClusterName, Scope};

/// Open a local port that leads to a tcp or udp service in a cluster
#[derive(Debug, Clone, Args)]
pub struct ForwardArgs {
    /// The cluster's name
    #[arg(value_name = "CLUSTER")]
    pub cluster: ClusterName,
    /// The service's name in the agent's tunnel.forwards
    #[arg(value_name = "SERVICE", value_parser = service)]
    pub service: String,
    /// Where to listen: ADDRESS:PORT, or PORT of loopback, 0 for a free one; - connects once, by standard input and output
    #[arg(long, value_name = "ADDR:PORT")]
    pub local: Local,
    /// The service is a udp one
    #[arg(long)]
    pub udp: bool,
    /// A file with the user's token, read again for each connection; - for standard input [default: $PIPEOPS_TOKEN]
    #[arg(long, value_name = "FILE", env = "PIPEOPS_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// The only CA that may have signed the gateway's certificate, PEM [default: the configured one, or the system's]
    #[arg(long, value_name = "FILE", env = "PIPEOPS_CA_FILE")]
    pub ca_file: Option<PathBuf>,
}

/// What the command needs of the configuration and the terminal.
#[derive(Debug)]
pub struct Surroundings {
    /// Where users reach the gateway.
    pub url: String,
    /// The gateway's own CA, if it has one.
    pub ca_file: Option<PathBuf>,
    /// How long connections may take to end after Ctrl-C.
    pub drain: Duration,
    /// Writes a line of the result.
    pub tell: fn(&str),
    /// Writes a line about trouble.
    pub warn: fn(&str),
}

fn service(text: &str) -> Result<String, String> {
    let scope: Result<Scope, _> = format!("tunnel:{text}").parse();
    let named = text != "*" && scope.is_ok();
    named
        .then(|| text.to_owned())
        .ok_or_else(|| "must be a name: a-z, 0-9 and -".to_owned())
}

impl ForwardArgs {
    /// Runs until it is told to end, and then until what runs has ended.
    ///
    /// # Errors
    /// [`Failure`], with a message for the terminal.
    pub async fn run(&self, around: Surroundings) -> Result<ExitCode, Failure> {
        let failed = |error: ForwardError| Failure::failed(&error);
        if self.udp && self.local == Local::Stdio {
            return Err(Failure::usage(&ForwardError::NoDatagrams));
        }
        let mut signals = Signals::new()?;
        let ca_file = self.ca_file.as_deref().or(around.ca_file.as_deref());
        let token = Token::new(self.token_file.as_deref()).map_err(failed)?;
        let client = Client::new(&around.url, ca_file, token, self).map_err(failed)?;
        let protocol = if self.udp {
            RawProtocol::Udp
        } else {
            RawProtocol::Tcp
        };
        let Local::Listen(address) = self.local else {
            listen::by_stdio(&client).await.map_err(failed)?;
            return Ok(ExitCode::SUCCESS);
        };
        client.check().await.map_err(failed)?;
        let listening = Listening::bind(address, protocol).await.map_err(failed)?;
        let here = listening.address().map_err(failed)?;
        let what = if self.udp { "UDP" } else { "TCP" };
        (around.tell)(&format!(
            "forwarding {here} -> {} in {} ({what})",
            self.service, self.cluster
        ));
        if !here.ip().is_loopback() {
            (around.warn)(&format!(
                "note: whoever reaches {here} uses the service with your token"
            ));
        }
        let stop = CancellationToken::new();
        let serving = listening.serve(Rc::new(client), stop.clone(), around.warn);
        LocalSet::new()
            .run_until(async {
                let mut serving = std::pin::pin!(serving);
                tokio::select! {
                    ended = &mut serving => ended.map_err(failed)?,
                    _ = signals.next() => stop.cancel(),
                }
                // What is left then is cut.
                let drained = async { drop(timeout(around.drain, serving).await) };
                Ok(signals.while_draining(drained).await)
            })
            .await
    }
}
