//! Writes down what `src/build_info.rs` says of this build. Nothing here can fail it.

use std::env;
use std::path::Path;
use std::process::Command;

use jiff::Timestamp;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for variable in ["SOURCE_DATE_EPOCH", "PIPEOPS_GIT_COMMIT"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let commit = given("PIPEOPS_GIT_COMMIT").or_else(git_commit);
    for (name, value) in [
        ("COMMIT", commit),
        ("DATE", Some(date())),
        ("RUSTC", rustc()),
    ] {
        let value = value.unwrap_or_else(|| "unknown".to_owned());
        println!("cargo::rustc-env=PIPEOPS_BUILD_{name}={value}");
    }
}

fn given(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

/// The first line that a program writes, if it succeeds.
fn line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().next().unwrap_or_default().trim();
    (output.status.success() && !line.is_empty()).then(|| line.to_owned())
}

/// Of this folder's own repository; one that it merely lies in would say something else.
fn git_commit() -> Option<String> {
    let folder = env::var("CARGO_MANIFEST_DIR").ok()?;
    let git = |args: &[&str]| line("git", &[&["-C", &folder], args].concat());
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&folder).canonicalize().ok()? {
        return None;
    }
    // Grows with each commit and checkout. A path that is not there would mean to rerun always.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && let log = Path::new(&folder).join(log)
        && log.exists()
    {
        println!("cargo::rerun-if-changed={}", log.display());
    }
    git(&["rev-parse", "--short=8", "HEAD"])
}

/// Now, or the time that a reproducible build was told (reproducible-builds.org, "SOURCE_DATE_EPOCH").
fn date() -> String {
    let told = given("SOURCE_DATE_EPOCH")
        .and_then(|seconds| Timestamp::from_second(seconds.parse().ok()?).ok());
    let date = told.unwrap_or_else(Timestamp::now);
    date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `rustc 1.95.0`, without the commit.
fn rustc() -> Option<String> {
    let version = line(&env::var("RUSTC").ok()?, &["--version"])?;
    let words: Vec<&str> = version.split_whitespace().take(2).collect();
    Some(words.join(" "))
}
