//! Many agents on one gateway: how fast they come, what each holds, and what requests to all of
//! them cost.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pipeops_tunnel::gateway::api::tokens::CreateToken;
use pipeops_tunnel::gateway::operator::Operator;
use pipeops_tunnel::wire::token::Role;
use secrecy::ExposeSecret;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::meter::Meter;
use super::steady::{note_rss, period};
use crate::load::client::Client;
use crate::load::endpoint::Endpoint;
use crate::load::fleet::Fleet;
use crate::load::latency::Latency;
use crate::report::sample::{Outcome, count};
use crate::subject::Running;
use crate::subject::pair::Gateway;
use crate::world::World;

/// All of them must be connected within this.
const CONNECT: Duration = Duration::from_secs(240);

/// Connections that ask the agents.
const ASKERS: usize = 16;

pub(super) async fn run(
    world: &World,
    subject: &Running,
    agents: usize,
    out: &mut Outcome,
) -> Result<()> {
    let gateway = subject
        .gateway
        .as_ref()
        .context("agents are simulated for our own gateway alone")?;
    let (tokens, user) = tokens(gateway, agents).await?;
    let (server, _) = subject.rss()?;
    let mut fleet = Fleet::new(&gateway.host, gateway.port, &gateway.ca())?;
    let meter = Meter::start()?;
    let begun = Instant::now();
    fleet.connect(&tokens, CONNECT).await;
    let connecting = begun.elapsed().as_secs_f64();
    let spent = meter.stop(world, subject, out)?;
    let connected = fleet.connected();
    out.note(fleet.failure());
    ensure!(
        connected > 0,
        "no agent connects: {}",
        fleet.failure().unwrap_or_default()
    );
    out.set("connected", count(connected as u64));
    out.set("connects/s", count(connected as u64) / connecting);
    out.set(
        "first carrier p50 ms",
        fleet.first_carriers().percentile(50.0),
    );
    out.set(
        "first carrier p99 ms",
        fleet.first_carriers().percentile(99.0),
    );
    out.set(
        "server ms/connect",
        spent.server() * 1e3 / count(connected as u64),
    );
    sleep(Duration::from_secs(1)).await;
    let meter = Meter::start()?;
    sleep(period(world)).await;
    let spent = meter.stop(world, subject, out)?;
    out.set("idle server %", 100.0 * spent.server() / spent.seconds);
    let (server_now, _) = subject.rss()?;
    out.set(
        "server KiB/agent",
        (server_now - server) * 1024.0 / count(connected as u64),
    );
    let meter = Meter::start()?;
    let latency = ask_all(gateway, agents, &user, period(world)).await?;
    let spent = meter.stop(world, subject, out)?;
    out.set("carriers", count(fleet.carriers() as u64));
    out.set("req/s", count(latency.count()) / spent.seconds);
    out.latency(&latency, "");
    out.set(
        "server µs/req",
        spent.server() * 1e6 / count(latency.count()),
    );
    note_rss(subject, out)
}

fn name(index: usize) -> String {
    format!("agent-{index}")
}

/// A token for each agent, and one of a user for all.
async fn tokens(gateway: &Gateway, agents: usize) -> Result<(Vec<String>, String)> {
    let operator = Operator::open(&gateway.state).await?;
    let mut tokens = Vec::with_capacity(agents);
    for index in 0..agents {
        let request = CreateToken::Agent {
            cluster: name(index),
            cluster_id: None,
            expires_at: None,
        };
        let made = operator.create_token(&request).await?;
        tokens.push(made.token.expose_secret().to_owned());
    }
    let request = CreateToken::User {
        subject: "load".to_owned(),
        role: Role::Viewer,
        clusters: Vec::new(),
        all_clusters: true,
        scopes: Vec::new(),
        expires_at: None,
    };
    let user = operator.create_token(&request).await?;
    Ok((tokens, user.token.expose_secret().to_owned()))
}

/// Asks one agent after the other for 1 KiB, on some connections.
async fn ask_all(
    gateway: &Gateway,
    agents: usize,
    token: &str,
    period: Duration,
) -> Result<Latency> {
    let url = format!("https://{}:{}", gateway.host, gateway.port);
    let fields = [format!("Authorization: Bearer {token}")];
    let endpoint = Rc::new(Endpoint::new(&url, Some(&gateway.ca()), &fields)?);
    let until = Instant::now() + period;
    let mut askers = JoinSet::new();
    for asker in 0..ASKERS {
        let endpoint = Rc::clone(&endpoint);
        askers.spawn_local(async move {
            let mut latency = Latency::new()?;
            let mut client = Client::connect(&endpoint).await?;
            let mut next = asker;
            while Instant::now() < until {
                let path = format!("/v1/clusters/{}/tunnel/demo/", name(next % agents));
                let begun = Instant::now();
                client.ask(&endpoint.head("GET", &path, "")).await?;
                latency.record(begun.elapsed());
                next += ASKERS;
            }
            anyhow::Ok(latency)
        });
    }
    let mut all = Latency::new()?;
    while let Some(asked) = askers.join_next().await {
        all.add(&asked??)?;
    }
    Ok(all)
}
