//! Gateway, agent and a demo service in one process: the first thing to run.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use pipeops_tunnel::config::init_logging;
use pipeops_tunnel::dev::{Dev, DevArgs};
use pipeops_tunnel::process::{self, Failure, Signals};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = DevArgs::parse();
    process::run(run(args))
}

async fn run(args: DevArgs) -> Result<ExitCode, Failure> {
    init_logging(&args.log())?;
    let mut signals = Signals::new()?;
    let dev = tokio::select! {
        dev = Dev::start(args.options()) => dev?,
        signal = signals.next() => return Ok(signal.exit_code()),
    };
    write!(io::stdout(), "{}", dev.summary())?;
    signals.next().await;
    writeln!(io::stderr(), "{}", dev.drain_notice())?;
    Ok(signals.while_draining(dev.shutdown()).await)
}
