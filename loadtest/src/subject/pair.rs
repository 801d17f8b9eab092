//! Our gateway and agent as two processes with a state folder of their own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Running;
use crate::args::Front;
use crate::load::endpoint::Endpoint;
use crate::system::free_port;
use crate::system::process::Process;
use crate::world::World;

/// Cluster, id and subject of everything here.
const NAME: &str = "load";
/// The service that is the origin.
const SERVICE: &str = "origin";

/// What one has to know of a running gateway to connect agents to it.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    /// Its folder of tokens and the admin socket.
    pub(crate) state: PathBuf,
    /// Its own TLS listener.
    pub(crate) port: u16,
    /// The address of it.
    pub(crate) host: String,
}

impl Gateway {
    /// The CA of its certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.state.join("ca.crt")
    }
}

/// Starts both; the agent has the service before it knows whether it is reachable.
///
/// # Errors
/// When one of them does not start.
pub(crate) async fn start(world: &World, name: &str, bin: &Path) -> Result<Running> {
    let folder = world.nursery.folder(&format!("pair-{}", free_port()))?;
    let setup = Setup {
        program: bin.join("pipeops-gateway"),
        config: folder.join("gateway.json"),
        gateway: Gateway {
            state: folder.join("state"),
            port: free_port(),
            host: world.place.gateway_host().to_owned(),
        },
        front: free_port(),
        folder,
    };
    setup.write_gateway(world)?;
    let agent_token = setup.cli(&["agent", "--cluster", NAME, "--cluster-id", NAME])?;
    let scope = format!("tunnel:{SERVICE}");
    let user_token = setup.cli(&[
        "user",
        "--subject",
        NAME,
        "--role",
        "viewer",
        "--cluster",
        NAME,
        "--scope",
        &scope,
        "--expires",
        "48h",
    ])?;
    let mut command = Command::new(&setup.program);
    command.arg("--config").arg(&setup.config);
    let mut gateway = world
        .nursery
        .spawn("gateway", &mut command, &setup.folder)?;
    setup.wait_listening(&mut gateway).await?;
    let dialled = world.place.before_gateway(setup.gateway.port).await?;
    let agent = setup.start_agent(world, bin, &agent_token, dialled)?;
    let endpoint = setup.endpoint(world.args.front, &user_token)?;
    Ok(Running {
        name: name.to_owned(),
        endpoint,
        server: vec![gateway.pid()],
        agent: vec![agent.pid()],
        gateway: Some(setup.gateway),
        processes: vec![agent, gateway],
    })
}

struct Setup {
    program: PathBuf,
    folder: PathBuf,
    config: PathBuf,
    gateway: Gateway,
    /// Where the load goes, unless it goes to the gateway's own listener.
    front: u16,
}

impl Setup {
    fn write_gateway(&self, world: &World) -> Result<()> {
        let Gateway { port, state, host } = &self.gateway;
        let mut config = json!({
            "listen": format!("{host}:{port}"), "domain": "pipeops.localhost",
            "public_url": format!("https://{host}:{port}"), "hosts": ["localhost", "127.0.0.1", host],
            "state_dir": state, "tls": {"self_signed": true}, "log": {"level": world.args.log_level},
            "admin": {"listen": "127.0.0.1:0"}, "drain_timeout": "1s",
            "monitoring": {"enabled": true, "prometheus": {"enabled": true, "listen": "127.0.0.1:0"}},
        });
        let front = format!("127.0.0.1:{}", self.front);
        match world.args.front {
            Front::Plain => set(&mut config, "http_listen", front.into()),
            Front::Tls => {}
            Front::Raw => {
                let port = json!({"listen": front, "cluster": NAME, "service": SERVICE, "allow": ["127.0.0.0/8"]});
                set(&mut config, "ports", json!([port]));
            }
        }
        if let Some(threads) = world.args.threads {
            set(&mut config, "threads", threads.into());
        }
        Ok(std::fs::write(&self.config, config.to_string())?)
    }

    fn cli(&self, what: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args(["token", "create"])
            .args(what)
            .arg("--config")
            .arg(&self.config);
        let out = command
            .output()
            .with_context(|| self.program.display().to_string())?;
        let said = String::from_utf8_lossy(&out.stderr);
        ensure!(
            out.status.success(),
            "{} token create: {said}",
            self.program.display()
        );
        Ok(String::from_utf8(out.stdout)?.trim().to_owned())
    }

    async fn wait_listening(&self, process: &mut Process) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(20);
        let address = format!("{}:{}", self.gateway.host, self.gateway.port);
        while let Err(error) = TcpStream::connect(&address).await {
            process.check()?;
            ensure!(
                Instant::now() < end,
                "the gateway does not listen on {address}: {error}"
            );
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn start_agent(&self, world: &World, bin: &Path, token: &str, port: u16) -> Result<Process> {
        let file = self.folder.join("agent.token");
        std::fs::write(&file, token)?;
        let host = &self.gateway.host;
        let protocol = match world.args.front {
            Front::Plain | Front::Tls => "http",
            Front::Raw => "tcp",
        };
        let config = json!({
            "agent": {"cluster_name": NAME, "cluster_id": NAME},
            "pipeops": {
                "api_url": format!("https://{host}:{port}"), "token_file": file, "ca_file": self.gateway.ca(),
            },
            "tunnel": {"forwards": [{"name": SERVICE, "local_addr": world.origin, "protocol": protocol}]},
            "kubernetes": {"enabled": false}, "log": {"level": world.args.log_level},
            "admin": {"listen": "127.0.0.1:0"},
            "monitoring": {"enabled": true, "prometheus": {"enabled": true, "listen": "127.0.0.1:0"}},
        });
        let path = self.folder.join("agent.json");
        std::fs::write(&path, config.to_string())?;
        let mut command = world.place.agent_command(&bin.join("pipeops-agent"));
        command.arg("--config").arg(path);
        world.nursery.spawn("agent", &mut command, &self.folder)
    }

    fn endpoint(&self, front: Front, token: &str) -> Result<Endpoint> {
        let fields = [format!("Authorization: Bearer {token}")];
        let path = format!("v1/clusters/{NAME}/tunnel/{SERVICE}");
        let Gateway { host, port, .. } = &self.gateway;
        match front {
            Front::Plain => Endpoint::new(
                &format!("http://127.0.0.1:{}/{path}", self.front),
                None,
                &fields,
            ),
            Front::Raw => Endpoint::new(&format!("http://127.0.0.1:{}", self.front), None, &[]),
            Front::Tls => Endpoint::new(
                &format!("https://{host}:{port}/{path}"),
                Some(&self.gateway.ca()),
                &fields,
            ),
        }
    }
}

fn set(config: &mut Value, key: &str, value: Value) {
    if let Some(config) = config.as_object_mut() {
        config.insert(key.to_owned(), value);
    }
}
