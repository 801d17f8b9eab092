//! The tunnel's side in a cluster.

use std::io::{self, Write};
use std::process::ExitCode;

use pipeops_tunnel::agent::Agent;
use pipeops_tunnel::agent::args::AgentArgs;
use pipeops_tunnel::config::init_logging;
use pipeops_tunnel::process::{self, Failure, Signals};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = AgentArgs::from_process();
    process::run(run(args))
}

async fn run(args: AgentArgs) -> Result<ExitCode, Failure> {
    if let Some(command) = args.command {
        writeln!(io::stdout(), "{}", command.output())?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = args.config()?;
    init_logging(&config.log)?;
    let mut signals = Signals::new()?;
    let agent = Agent::start(config)?;
    signals.next().await;
    Ok(signals.while_draining(agent.shutdown()).await)
}
