//! What is measured: a pair of our gateway and agent, a peer, the origin itself, or whatever runs
//! at a URL.

mod build;
pub(crate) mod pair;
pub(crate) mod peer;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep};

use crate::args::Args;
use crate::load::client::Client;
use crate::load::endpoint::Endpoint;
use crate::system::process::Process;
use crate::system::usage::Table;
use crate::world::World;

pub(crate) use build::binaries;

/// Something that can be started, again and again.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// Our gateway and agent, from this folder.
    Pair {
        /// In tables.
        name: String,
        /// Where the two programs are.
        bin: PathBuf,
    },
    /// One of the adapters file.
    Peer {
        /// Its table there.
        name: String,
    },
    /// No tunnel: the origin.
    Direct,
    /// A service that others run.
    Target,
}

/// A subject that is up.
#[derive(Debug)]
pub(crate) struct Running {
    /// In tables.
    pub(crate) name: String,
    /// Where the origin is seen through it.
    pub(crate) endpoint: Endpoint,
    /// The processes of the public side.
    pub(crate) server: Vec<u32>,
    /// Those of the side that dials out.
    pub(crate) agent: Vec<u32>,
    /// Our own gateway, where this is one.
    pub(crate) gateway: Option<pair::Gateway>,
    /// Ended with it.
    pub(crate) processes: Vec<Process>,
}

impl Subject {
    /// All that the arguments name, ours first.
    ///
    /// # Errors
    /// When our programs are neither there nor can be built.
    pub(crate) fn all(args: &Args) -> Result<Vec<Self>> {
        let first = match &args.target {
            Some(_) => Self::Target,
            None => Self::Pair {
                name: "pipeops".to_owned(),
                bin: binaries(args.bin.clone())?,
            },
        };
        let mut all = vec![first];
        for bin in &args.vs_bin {
            let folder = bin.file_name().unwrap_or(bin.as_os_str());
            all.push(Self::Pair {
                name: format!("bin:{}", folder.display()),
                bin: binaries(Some(bin.clone()))?,
            });
        }
        all.extend(args.vs.iter().map(|name| match name.as_str() {
            "direct" => Self::Direct,
            _ => Self::Peer { name: name.clone() },
        }));
        Ok(all)
    }

    /// In tables.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Pair { name, .. } | Self::Peer { name } => name,
            Self::Direct => "direct",
            Self::Target => "target",
        }
    }

    /// Whether it is of this project, or named by its user: one that does not start ends the run.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Pair { .. } | Self::Target)
    }

    /// Starts it, and waits until the origin is seen through it.
    ///
    /// # Errors
    /// When it does not come up; with the end of its log.
    pub(crate) async fn start(&self, world: &World) -> Result<Running> {
        let mut running = match self {
            Self::Pair { name, bin } => pair::start(world, name, bin).await?,
            Self::Peer { name } => peer::start(world, name).await?,
            Self::Direct => Running::without_processes(
                "direct",
                Endpoint::new(&format!("http://{}", world.origin), None, &[])?,
            ),
            Self::Target => target(&world.args)?,
        };
        running
            .wait_up()
            .await
            .with_context(|| format!("{} is not up", self.name()))?;
        Ok(running)
    }
}

fn target(args: &Args) -> Result<Running> {
    let url = args.target.as_deref().unwrap_or_default();
    let mut fields = Vec::new();
    if let Some(file) = &args.token_file {
        let token = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        fields.push(format!("Authorization: Bearer {}", token.trim()));
    }
    let endpoint = Endpoint::new(url, args.ca_file.as_deref(), &fields)?;
    Ok(Running {
        server: args.server_pid.clone(),
        agent: args.agent_pid.clone(),
        ..Running::without_processes("target", endpoint)
    })
}

impl Running {
    /// One whose processes are not ours to end.
    pub(crate) fn without_processes(name: &str, endpoint: Endpoint) -> Self {
        Self {
            name: name.to_owned(),
            endpoint,
            server: Vec::new(),
            agent: Vec::new(),
            gateway: None,
            processes: Vec::new(),
        }
    }

    async fn wait_up(&mut self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        let request = self.endpoint.head("GET", "/1k", "");
        loop {
            let asked = match Client::connect(&self.endpoint).await {
                Ok(mut client) => client.ask(&request).await,
                Err(error) => Err(error),
            };
            let Err(error) = asked else { return Ok(()) };
            for process in &mut self.processes {
                process.check()?;
            }
            if Instant::now() >= end {
                let tails: Vec<_> = self.processes.iter().map(Process::tail).collect();
                return Err(error.context(tails.join("\n")));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Resident MiB of the two sides.
    ///
    /// # Errors
    /// When `/proc` can not be read.
    pub(crate) fn rss(&self) -> Result<(f64, f64)> {
        let table = Table::read()?;
        let sum =
            |pids: &[u32]| pids.iter().map(|pid| table.rss(*pid)).sum::<f64>() / f64::from(1 << 20);
        Ok((sum(&self.server), sum(&self.agent)))
    }
}
