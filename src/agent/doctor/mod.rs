//! `pipeops-agent doctor`: looks at everything that an agent needs, and says what to do about it.
//!
//! It disturbs no agent that runs, on this machine or elsewhere: at the gateway it is a probe
//! (`proto/README.md`), and targets see a connection and no request. Every step has a deadline, and
//! what does not depend on each other is looked at at the same time. Called by the binary.

mod args;
mod bundle;
mod certificate;
mod clock;
mod gateway;
mod kubernetes;
mod local;
mod network;
mod proxy;
mod report;
mod secrets;
mod setup;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::LocalSet;
use tokio::time::timeout;

pub use args::{DoctorArgs, Format};

use super::config::{AgentConfig, ForwardConfig, Protocol};
use super::dial::Dialer;
use super::target::reach;
use crate::config::{Inputs, Period};
use crate::process::Failure;
use report::{Finding, Report};
use secrets::Secrets;

/// A bundle would replace a file.
#[derive(Debug, thiserror::Error)]
#[error("{0} is there already; name a file that is not, for --bundle")]
struct Exists(String);

/// Looks, and writes what was found to standard output. Exit code 0 where nothing has failed.
///
/// # Errors
/// [`Failure`] when the result can not be written.
pub async fn run(args: &DoctorArgs, inputs: &Inputs) -> Result<ExitCode, Failure> {
    if let Some(path) = args.bundle.as_deref().filter(|path| path.exists()) {
        return Err(Failure::usage(&Exists(path.display().to_string())));
    }
    let report = Box::pin(report(args, inputs));
    LocalSet::new().run_until(report).await
}

async fn report(args: &DoctorArgs, inputs: &Inputs) -> Result<ExitCode, Failure> {
    let limit = args.timeout.0;
    let source = inputs.file::<AgentConfig>();
    let source = source.as_deref();
    let loaded = inputs.load();
    let mut checks = vec![setup::config(&loaded, source)];
    let config = loaded.ok().map(|loaded| loaded.config);
    match &config {
        Some(config) => checks.extend(examine(config, source, limit).await),
        None => checks.push(Finding::skipped(
            "all others",
            "-",
            "they need a configuration",
        )),
    }
    let secrets = config.as_ref().map(Secrets::collect).unwrap_or_default();
    let report = Report::new(checks, &secrets);
    let text = match args.output {
        Format::Table => report.table(),
        Format::Json => format!(
            "{}\n",
            serde_json::to_string_pretty(&report).map_err(io::Error::from)?
        ),
    };
    io::stdout().write_all(text.as_bytes())?;
    if let Some(path) = &args.bundle {
        let agent = match &config {
            Some(config) => local::everything(config, limit).await,
            None => Vec::new(),
        };
        bundle::write(path, &report, config.as_ref(), agent, &secrets)?;
        writeln!(io::stderr(), "wrote {}", path.display())?;
    }
    Ok(ExitCode::from(u8::from(report.summary.failed > 0)))
}

async fn examine(config: &AgentConfig, source: Option<&Path>, limit: Duration) -> Vec<Finding> {
    let mut found = setup::files(config, source);
    let forwards = config
        .tunnel
        .forwards
        .iter()
        .map(|forward| check_forward(forward, limit));
    let (gateway, kubernetes, forwards, agent) = tokio::join!(
        check_gateway(config, limit),
        kubernetes::check(config, limit),
        join_all(forwards),
        local::check(config, limit),
    );
    found.extend(gateway);
    found.extend(kubernetes);
    found.extend(forwards);
    found.push(agent);
    found
}

/// The way to the gateway, step by step: each needs the one before.
async fn check_gateway(config: &AgentConfig, limit: Duration) -> Vec<Finding> {
    let mut platform = config.pipeops.clone();
    platform.timeout = Period(limit);
    let dialer = match Dialer::new(&platform) {
        Ok(dialer) => dialer,
        Err(error) => {
            let action = "correct the section pipeops of the configuration";
            let failed = Finding::failed("gateway", "-", error.to_string(), action);
            let rest = ["dns", "tcp", "tls", "token", "carrier", "clock"];
            let skipped =
                rest.map(|component| Finding::skipped(component, "-", "needs the configuration"));
            return std::iter::once(failed).chain(skipped).collect();
        }
    };
    let place = dialer.place();
    let mut found = Vec::new();
    let (dns, addresses) = network::dns(&dialer).await;
    found.push(dns);
    let (tcp, address) = match addresses {
        Some(addresses) => network::tcp(&dialer, &addresses).await,
        None => (Finding::skipped("tcp", &place, "needs dns"), None),
    };
    found.push(tcp);
    let (proxy, open) = proxy::check(&dialer, address).await;
    found.push(proxy);
    let (tls, trusted, by_date) = match address.filter(|_| open) {
        Some(address) => network::tls(&dialer, address).await,
        None => {
            let needs = if address.is_some() {
                "needs proxy"
            } else {
                "needs tcp"
            };
            (Finding::skipped("tls", &place, needs), false, None)
        }
    };
    found.push(tls);
    let (visited, by_welcome) = if trusted {
        let visit = gateway::visit(&dialer, config.agent.cluster_id.as_deref()).await;
        (
            std::iter::once(visit.token).chain(visit.carriers).collect(),
            visit.reading,
        )
    } else {
        let skipped = ["token", "carrier"].map(|part| Finding::skipped(part, &place, "needs tls"));
        (skipped.to_vec(), None)
    };
    found.extend::<Vec<_>>(visited);
    found.push(match by_welcome.or(by_date) {
        Some(reading) => reading.judge(&place),
        None => Finding::skipped("clock", &place, "the gateway's time is not known"),
    });
    found
}

/// A forward's target, as far as a connection tells.
async fn check_forward(forward: &ForwardConfig, limit: Duration) -> Finding {
    let target = format!("{} {}", forward.name, forward.local_addr);
    let why = match timeout(limit, reach(forward)).await {
        Ok(Ok(())) if forward.protocol == Protocol::Udp => {
            return Finding::ok(
                "forward",
                &target,
                "is found; whether it answers, UDP does not tell",
            );
        }
        Ok(Ok(())) => return Finding::ok("forward", &target, "takes connections"),
        Ok(Err(why)) => why,
        Err(_) => format!("no connection within {}", Period(limit)),
    };
    let action =
        "check that it runs, and tunnel.forwards: local_addr, protocol, ca_file and server_name";
    Finding::failed("forward", &target, why, action)
}
