//! `pipeops-gateway forward` as a process.

use crate::{
    common::{process::Process, temp_dir},
    fixture::Tunnel,
};
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
};

/// A forward that listens.
#[derive(Debug)]
pub struct Forward {
    pub process: Process,
    pub addr: SocketAddr,
}

/// The command to `demo` with the user's token in a file, not yet started.
pub fn command(tunnel: &Tunnel, args: &[&str]) -> Command {
    to(tunnel, "demo", &tunnel.token, args)
}

/// The command to this service with this token.
pub fn to(tunnel: &Tunnel, service: &str, token: &str, args: &[&str]) -> Command {
    let mut command = bare(tunnel, service, args);
    command.arg("--token-file").arg(token_file(token));
    command
}

/// The command without a token.
pub fn bare(tunnel: &Tunnel, service: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeops-gateway"));
    let url = format!("https://localhost:{}", tunnel.gateway.addr.port());
    command
        .args(["forward", &tunnel.cluster.name, service])
        .args(args)
        .args(["--public-url", &url])
        .arg("--ca-file")
        .arg(tunnel.gateway.ca())
        .stdin(Stdio::null());
    command
}

pub fn token_file(token: &str) -> PathBuf {
    let file = temp_dir("token").join("token");
    fs::write(&file, format!("{token}\n")).unwrap();
    file
}

impl Forward {
    /// Starts it at a free port and waits until it listens.
    pub fn start(tunnel: &Tunnel, args: &[&str]) -> Self {
        Self::of(&mut command(tunnel, &[&["--local", "0"], args].concat()))
    }

    /// Starts the command and waits until it listens.
    pub fn of(command: &mut Command) -> Self {
        let mut process = Process::spawn("forward", command);
        let addr = process.wait_line("forwarding", |line| {
            line.strip_prefix("forwarding ")?
                .split(' ')
                .next()?
                .parse()
                .ok()
        });
        Self { process, addr }
    }
}
