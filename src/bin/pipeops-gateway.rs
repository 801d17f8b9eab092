//! The public side of the tunnel, and the operator's commands.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use pipeops_tunnel::config::init_logging;
use pipeops_tunnel::gateway::Gateway;
use pipeops_tunnel::gateway::args::GatewayArgs;
use pipeops_tunnel::gateway::config::GatewayConfig;
use pipeops_tunnel::process::{self, Failure, Signals};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = GatewayArgs::parse();
    process::run(run(args))
}

async fn run(args: GatewayArgs) -> Result<ExitCode, Failure> {
    let config = args.config()?;
    let Some(command) = &args.command else {
        return serve(config).await;
    };
    init_logging(&args.command_log())?;
    command
        .run(&config)
        .await?
        .write_to(io::stdout(), io::stderr())?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: GatewayConfig) -> Result<ExitCode, Failure> {
    init_logging(&config.log)?;
    let mut signals = Signals::new()?;
    let gateway = Gateway::start(config)?;
    signals.next().await;
    Ok(signals.while_draining(gateway.shutdown()).await)
}
