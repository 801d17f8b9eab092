//! The public side of the tunnel, and the operator's commands.

use std::io::{self, Write};
use std::process::ExitCode;

use pipeops_tunnel::config::{Inputs, Loaded, Reloader, init_logging};
use pipeops_tunnel::gateway::Gateway;
use pipeops_tunnel::gateway::args::{Command, GatewayArgs, surroundings};
use pipeops_tunnel::gateway::config::GatewayConfig;
use pipeops_tunnel::process::{self, Failure, Signals};
use tokio_util::task::AbortOnDropHandle;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = GatewayArgs::from_process();
    process::run(run(args))
}

async fn run(args: GatewayArgs) -> Result<ExitCode, Failure> {
    match args.command {
        Some(Command::Operate(command)) => {
            let output = command.run(&args.inputs).await?;
            output.write_to(io::stdout(), io::stderr())?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Forward(forward)) => {
            let tell = |line: &str| drop(writeln!(io::stdout(), "{line}"));
            let warn = |line: &str| drop(writeln!(io::stderr(), "{line}"));
            forward.run(surroundings(&args.inputs, tell, warn)?).await
        }
        Some(Command::Config(command)) => {
            let answer = command.run::<GatewayConfig>(&args.inputs, GatewayArgs::command());
            Ok(answer.await?.write_to(io::stdout(), io::stderr())?)
        }
        None => serve(args.inputs).await,
    }
}

async fn serve(inputs: Inputs) -> Result<ExitCode, Failure> {
    let loaded: Loaded<GatewayConfig> = inputs.load()?;
    loaded.validate()?;
    let log = init_logging(&loaded.config.log)?;
    let mut signals = Signals::new()?;
    let (reloader, config) = Reloader::new(inputs, loaded, log)?;
    let gateway = Gateway::start(config)?;
    let _reloads = AbortOnDropHandle::new(tokio::spawn(reloader.run()));
    signals.next().await;
    Ok(signals.while_draining(gateway.shutdown()).await)
}
