//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures the PipeOps tunnel, and other tunnels beside it.
///
/// Without --target it starts an origin, the gateway and the agent as processes of their own, and ends them whatever
/// happens. Everything stays on loopback. docs/performance.md explains the scenarios and the figures.
#[derive(Debug, Clone, Parser)]
#[command(name = "loadtest", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    /// What to do
    pub(crate) scenario: Scenario,

    /// How long each case is measured, in seconds
    #[arg(long, value_name = "S", default_value_t = 2.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// How often each case is measured; with several subjects they take turns, A B A B [default: 1, and 3 with --vs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: Option<u32>,

    /// Sizes of the scenario's cases (connections, streams, agents, stalled readers) instead of its own
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) counts: Vec<u32>,

    /// Folder of pipeops-gateway and pipeops-agent [default: where this program is; built there when missing]
    #[arg(long, value_name = "DIR")]
    pub(crate) bin: Option<PathBuf>,

    /// Also measure the gateway and the agent of this folder, in turns; can be given more than once
    #[arg(long, value_name = "DIR")]
    pub(crate) vs_bin: Vec<PathBuf>,

    /// Also measure this peer of the adapters file, or `direct` (no tunnel), in turns; a list, or more than once
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    pub(crate) vs: Vec<String>,

    /// What is known of peers
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/peers.toml"))]
    pub(crate) adapters: PathBuf,

    /// Folder of the peers' programs, beside PATH (loadtest/peers/install.sh fills it)
    #[arg(long, value_name = "DIR", default_value_os_t = peer_bin())]
    pub(crate) peer_bin: PathBuf,

    /// How the load reaches our gateway
    #[arg(long, value_enum, default_value_t = Front::Plain)]
    pub(crate) front: Front,

    /// Worker threads of our gateway [default: its own]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<u32>,

    /// What our programs log; at `info` each request is a line
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    pub(crate) log_level: String,

    /// Measure a service that runs already, by its URL; behind it must be `loadtest origin`
    #[arg(long, value_name = "URL", conflicts_with_all = ["bin", "vs_bin", "vs"])]
    pub(crate) target: Option<String>,

    /// A file with the bearer token for --target
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) token_file: Option<PathBuf>,

    /// The CA of --target's certificate
    #[arg(long, value_name = "FILE", requires = "target")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Processes of --target's public side, to be measured with it
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "target")]
    pub(crate) server_pid: Vec<u32>,

    /// Processes of --target's other side
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "target")]
    pub(crate) agent_pid: Vec<u32>,

    /// Leave a sample out of the results when other programs took more than this share of the machine meanwhile
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    pub(crate) max_foreign: f64,

    /// Wait at most this long before a sample for a calmer moment
    #[arg(long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    pub(crate) wait: f64,

    /// Where results.json, results.md and the plots go; without it the tables are only printed
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// wan: round trip time in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100.0, value_parser = seconds)]
    pub(crate) rtt: f64,

    /// wan: the link's rate in MB/s
    #[arg(long, value_name = "MB/S", default_value_t = 25.0, value_parser = seconds)]
    pub(crate) rate: f64,

    /// wan: packets lost, in percent
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_values_t = [0.0, 1.0])]
    pub(crate) loss: Vec<f64>,

    /// wan: delay and pace by a proxy, without packets, and so without loss
    #[arg(long)]
    pub(crate) proxy: bool,

    /// origin: where it listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    pub(crate) listen: SocketAddr,

    /// The folder that the reaper removes
    #[arg(long, hide = true)]
    pub(crate) dir: Option<PathBuf>,
}

/// What this program can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// 1 and 8 downloads, then uploads, as fast as they go
    Bulk,
    /// Requests for 1 KiB on 1 and 64 connections that are kept
    Small,
    /// A new connection for each request, 16 at once
    Open,
    /// A paced probe (200 requests a second) alone, beside 1 and beside 4 downloads at full speed
    Mixed,
    /// 10 … 10,000 downloads at once, and up to 100,000 responses that stand still
    Streams,
    /// 1 … 5,000 simulated agents on our gateway, each with its control channel and carriers
    Agents,
    /// Readers that stop, with a probe beside them
    Stall,
    /// Checked transfers of all sizes with a probe for --seconds: errors, memory and descriptors over time
    Soak,
    /// One download and one upload over a link with delay, rate and loss between gateway and agent
    Wan,
    /// Not a scenario: serves what the scenarios ask for, to stand behind a --target
    Origin,
    /// What cleans up after us
    #[value(hide = true)]
    Reap,
}

/// How the load reaches our gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Front {
    /// Without TLS, as from a load balancer: what peers are compared by
    Plain,
    /// Over the gateway's own TLS
    Tls,
    /// Through a port of the gateway that leads to the origin as a raw TCP service (`ports`)
    Raw,
}

impl Args {
    /// How often each case is measured.
    pub(crate) fn rounds(&self) -> u32 {
        let alone = self.vs.is_empty() && self.vs_bin.is_empty();
        self.rounds.unwrap_or(if alone { 1 } else { 3 })
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e6).contains(&seconds) => Ok(seconds),
        _ => Err("a number between 0 and 1000000 is needed".to_owned()),
    }
}

fn peer_bin() -> PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    PathBuf::from(home).join(".cache/pipeops-tunnel/peers")
}
