//! Measures the PipeOps tunnel, and other tunnels beside it: `docs/performance.md`.

mod args;
mod load;
mod origin;
mod place;
mod progress;
mod report;
mod run;
mod scenario;
mod subject;
mod system;
mod world;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, LocalOptions};

use args::{Args, Scenario};

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            progress::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<ExitCode> {
    if args.scenario == Scenario::Reap {
        system::reaper::run(args.dir.as_deref())?;
        return Ok(ExitCode::SUCCESS);
    }
    use_all_descriptors()?;
    let mut builder = Builder::new_current_thread();
    let runtime = builder
        .enable_all()
        .build_local(LocalOptions::default())
        .context("cannot start a runtime")?;
    if args.scenario == Scenario::Origin {
        runtime.block_on(origin::serve(args.listen))?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = runtime.block_on(run::run(&args))?;
    progress::print(&report.markdown());
    if let Some(folder) = &args.out {
        report.write(folder)?;
    }
    Ok(if report.failed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Thousands of connections need descriptors: takes what this user may have, for children too.
fn use_all_descriptors() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, all).context("cannot raise the limit of open files")
}
