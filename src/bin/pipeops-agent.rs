//! The tunnel's side in a cluster.

use std::io::{self, Write};
use std::process::ExitCode;

use pipeops_tunnel::agent::args::{AgentArgs, Command};
use pipeops_tunnel::agent::{Agent, doctor};
use pipeops_tunnel::build_info::VERSION;
use pipeops_tunnel::config::init_logging;
use pipeops_tunnel::process::{self, Failure, Signals};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = AgentArgs::from_process();
    process::run(run(args))
}

async fn run(args: AgentArgs) -> Result<ExitCode, Failure> {
    match &args.command {
        Some(Command::Doctor(doctor)) => {
            return doctor::run(doctor, args.config(), args.config_file()).await;
        }
        Some(Command::Version) => {
            writeln!(io::stdout(), "pipeops-agent {VERSION}")?;
            return Ok(ExitCode::SUCCESS);
        }
        None => {}
    }
    let config = args.config()?;
    init_logging(&config.log)?;
    let mut signals = Signals::new()?;
    let agent = Agent::start(config)?;
    signals.next().await;
    Ok(signals.while_draining(agent.shutdown()).await)
}
