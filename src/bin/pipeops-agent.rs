//! The tunnel's side in a cluster.

use std::io;
use std::process::ExitCode;

use pipeops_tunnel::agent::args::{AgentArgs, Command};
use pipeops_tunnel::agent::config::AgentConfig;
use pipeops_tunnel::agent::{Agent, doctor};
use pipeops_tunnel::config::{Inputs, Loaded, Reloader, init_logging};
use pipeops_tunnel::process::{self, Failure, Signals};
use tokio_util::task::AbortOnDropHandle;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = AgentArgs::from_process();
    process::run(run(args))
}

async fn run(args: AgentArgs) -> Result<ExitCode, Failure> {
    match args.command {
        Some(Command::Doctor(doctor)) => doctor::run(&doctor, &args.inputs).await,
        Some(Command::Config(command)) => {
            let answer = command.run::<AgentConfig>(&args.inputs, AgentArgs::command());
            Ok(answer.await?.write_to(io::stdout(), io::stderr())?)
        }
        None => serve(args.inputs).await,
    }
}

async fn serve(inputs: Inputs) -> Result<ExitCode, Failure> {
    let loaded: Loaded<AgentConfig> = inputs.load()?;
    loaded.validate()?;
    let log = init_logging(&loaded.config.log)?;
    let mut signals = Signals::new()?;
    let (reloader, config) = Reloader::new(inputs, loaded, log)?;
    let agent = Agent::start(config)?;
    let _reloads = AbortOnDropHandle::new(tokio::spawn(reloader.run()));
    signals.next().await;
    Ok(signals.while_draining(agent.shutdown()).await)
}
