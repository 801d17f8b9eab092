//! Where our own programs are, and how they come about.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

const PROGRAMS: [&str; 2] = ["pipeops-gateway", "pipeops-agent"];

/// The folder with both programs: the one that was named, or this program's own, built there by
/// cargo when they are missing.
///
/// # Errors
/// When they are missing all the same.
pub(crate) fn binaries(named: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(folder) = named {
        for program in PROGRAMS {
            ensure!(
                folder.join(program).is_file(),
                "there is no {program} in {}",
                folder.display()
            );
        }
        return Ok(folder);
    }
    let own = std::env::current_exe()?;
    let folder = own
        .parent()
        .context("a program lies in a folder")?
        .to_owned();
    if PROGRAMS
        .iter()
        .any(|program| !folder.join(program).is_file())
    {
        build(&folder)?;
    }
    Ok(folder)
}

fn build(folder: &Path) -> Result<()> {
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => "release",
    };
    let target = folder
        .parent()
        .context("a profile's folder lies in a target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--locked",
            "--workspace",
            "--bins",
            "--profile",
            profile,
            "--target-dir",
        ])
        .arg(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null());
    let built = command
        .status()
        .context("cannot start cargo to build the gateway and the agent")?;
    if !built.success() {
        bail!("cargo could not build the gateway and the agent ({built})");
    }
    Ok(())
}
