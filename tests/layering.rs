//! The crate's direction, as docs/ARCHITECTURE.md draws it: bins → gateway | agent → mux relay http admin → wire.
//!
//! Reads `src/` as tokens, so that comments, strings and names that merely contain `gateway` do not count, and `use`
//! trees, `crate::…`, `self::…` and `super::…` paths do. A module that is not there yet is no violation.
#![cfg(test)]

#[path = "layering/paths.rs"]
mod paths;

use std::fs;
use std::path::{Path, PathBuf};

use paths::paths_in;

/// STYLE: a file that outgrows this is two modules.
const MAX_LINES: usize = 400;
/// Both sides: nothing below them may know them, and they never know each other.
const SIDES: [&str; 2] = ["gateway", "agent"];
/// Only the agent talks to Kubernetes.
const KUBE: [&str; 5] = [
    "kube",
    "kube_client",
    "kube_core",
    "kube_runtime",
    "k8s_openapi",
];
/// What a module without I/O has no use for; types such as `IpAddr` are in `core::net`.
const IO_CRATES: [&str; 15] = [
    "axum",
    "backon",
    "hyper",
    "hyper_util",
    "kube",
    "mimalloc",
    "redb",
    "rustls",
    "socket2",
    "tokio",
    "tokio_rustls",
    "tokio_tungstenite",
    "tokio_util",
    "tower",
    "yamux",
];
const IO_STD: [&str; 6] = ["env", "fs", "net", "os", "process", "thread"];

/// Why `path`, used in `file` (relative to `src/`), breaks the direction; `None` where it does not.
fn violation(file: &Path, path: &[String]) -> Option<String> {
    let module = module_of(file);
    let own = module.first().map_or("", String::as_str);
    let first = path.first().map_or("", String::as_str);
    let second = path.get(1).map_or("", String::as_str);
    let bin = (own == "bin").then(|| module.get(1).map_or("", String::as_str));

    if KUBE.contains(&first) && own != "agent" {
        return Some("only `agent` sees kube".to_owned());
    }
    if own == "wire" {
        let now = path.len() > 1 && path.last().is_some_and(|last| last == "now");
        if now || IO_CRATES.contains(&first) || (first == "std" && IO_STD.contains(&second)) {
            return Some("`wire` does no I/O and takes `now` as an argument".to_owned());
        }
    }
    if !matches!(first, "crate" | "pipeops_tunnel") {
        return None;
    }
    match (bin, second) {
        (_, "" | "*" | "self") => Some("name the module, not the crate's root".to_owned()),
        (Some(name), side) if SIDES.contains(&side) => {
            let allowed = name == "pipeops-dev" || name == format!("pipeops-{side}");
            (!allowed).then(|| format!("`{name}` must build without `{side}`"))
        }
        (Some(_), _) => None,
        (None, other) if other == own => None,
        (None, _) if own == "wire" => {
            Some("`wire` is the lowest layer: it uses nothing of ours".to_owned())
        }
        (None, side) if SIDES.contains(&side) && own != "dev" => {
            Some(format!("`{own}` must not know `{side}`"))
        }
        (None, "dev") => Some("`dev` joins both sides: only a bin may use it".to_owned()),
        (None, _) => None,
    }
}

/// `gateway/store/mod.rs` → `[gateway, store]`, `bin/pipeops-dev.rs` → `[bin, pipeops-dev]`, `lib.rs` → `[]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut parts: Vec<String> = file
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if parts
        .last()
        .is_some_and(|last| matches!(last.as_str(), "mod" | "main" | "lib"))
    {
        parts.pop();
    }
    parts
}

fn source_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
}

/// Each file of `src/`, relative to it, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    source_files(&src, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no Rust file below {}", src.display());
    found
        .into_iter()
        .map(|path| {
            (
                path.strip_prefix(&src).unwrap().to_owned(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect()
}

fn violations(files: &[(PathBuf, String)]) -> Vec<String> {
    let mut broken = Vec::new();
    for (file, text) in files {
        for found in paths_in(text, &module_of(file)) {
            if let Some(why) = violation(file, &found.segments) {
                broken.push(format!(
                    "src/{}:{}: {}: {why}",
                    file.display(),
                    found.line,
                    found.segments.join("::")
                ));
            }
        }
    }
    broken
}

#[test]
fn modules_depend_downwards_only() {
    let broken = violations(&sources());
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn no_file_outgrows_the_house() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|(_, text)| text.lines().count() > MAX_LINES)
        .map(|(file, text)| {
            format!(
                "src/{}: {} lines, at most {MAX_LINES}",
                file.display(),
                text.lines().count()
            )
        })
        .collect();
    assert!(long.is_empty(), "\n{}\n", long.join("\n"));
}

/// The module file of a folder: `x/mod.rs`, or `x.rs` beside it below the first level.
fn says_what_lives_there(folder: &Path, files: &[(PathBuf, String)]) -> bool {
    let nested = folder.components().count() > 1;
    files.iter().any(|(file, text)| {
        let speaks_for_it =
            *file == folder.join("mod.rs") || (nested && *file == folder.with_extension("rs"));
        speaks_for_it && text.starts_with("//!")
    })
}

#[test]
fn every_folder_says_what_lives_there() {
    let files = sources();
    let mut silent: Vec<&Path> = files
        .iter()
        .filter_map(|(file, _)| file.parent())
        .filter(|folder| *folder != Path::new("") && !folder.starts_with("bin"))
        .filter(|folder| !says_what_lives_there(folder, &files))
        .collect();
    silent.dedup();
    assert!(
        silent.is_empty(),
        "no module file that starts with `//!` for {silent:?}"
    );
    let root = files.iter().find(|(file, _)| file == Path::new("lib.rs"));
    assert!(
        root.is_some_and(|(_, text)| text.starts_with("//!")),
        "src/lib.rs starts with the map of the crate"
    );
}

#[test]
fn a_silent_folder_is_found() {
    let says = |folder: &str, file: &str, text: &str| {
        says_what_lives_there(Path::new(folder), &[(PathBuf::from(file), text.to_owned())])
    };
    assert!(says("mux", "mux/mod.rs", "//! Sessions."));
    assert!(says("mux/pool", "mux/pool.rs", "//! Idle streams."));
    assert!(!says("mux", "mux.rs", "//! Sessions."));
    assert!(!says("mux", "mux/mod.rs", "mod pool;"));
    assert!(!says("mux", "mux/session.rs", "//! A session."));
}

/// The rules themselves: each pair is a file and a line that must be refused or let pass there.
fn refused(file: &str, text: &str) -> bool {
    !violations(&[(PathBuf::from(file), text.to_owned())]).is_empty()
}

#[test]
fn refuses_what_points_upwards_or_across() {
    for (file, text) in [
        ("gateway/mod.rs", "use crate::agent::Agent;"),
        ("gateway/store/mod.rs", "fn f() { crate::agent::dial() }"),
        (
            "gateway/x.rs",
            "use crate::{wire::Head, agent::{self as a}};",
        ),
        ("gateway/x.rs", "use super::super::agent;"),
        (
            "gateway/mod.rs",
            "mod tests { use super::super::agent::X; }",
        ),
        ("gateway/x.rs", "use crate as root;"),
        ("gateway/x.rs", "use crate::*;"),
        ("gateway/x.rs", "use crate::{self as root, wire};"),
        ("gateway/x.rs", "use kube::Client;"),
        ("gateway/x.rs", "use ::kube::Client;"),
        ("gateway/x.rs", "extern crate k8s_openapi;"),
        ("agent/mod.rs", "pub(crate) use crate::gateway::Config;"),
        ("agent/mod.rs", "type X = Vec<crate::gateway::Config>;"),
        ("mux/mod.rs", "use crate :: gateway;"),
        ("relay/pump.rs", "use crate::/* why */agent::X;"),
        ("http/mod.rs", "pub use crate::r#agent::X;"),
        ("admin/mod.rs", "#[derive(kube::CustomResource)] struct X;"),
        ("telemetry.rs", "use crate::gateway::X;"),
        ("gateway/x.rs", "use crate::dev::X;"),
        ("wire/mod.rs", "use crate::http::X;"),
        ("wire/mod.rs", "use std::{fmt, net::TcpStream};"),
        ("wire/mod.rs", "use tokio::io::AsyncRead;"),
        ("wire/mod.rs", "let t = std::time::SystemTime::now();"),
        ("wire/mod.rs", "let t = Timestamp::now();"),
        ("bin/pipeops-agent.rs", "use pipeops_tunnel::gateway::run;"),
        (
            "bin/pipeops-gateway.rs",
            "use pipeops_tunnel::{agent, wire};",
        ),
        ("bin/pipeops-dev/main.rs", "use pipeops_tunnel::*;"),
    ] {
        assert!(refused(file, text), "{file}: {text}");
    }
}

#[test]
fn lets_pass_what_only_looks_like_it() {
    for (file, text) in [
        (
            "gateway/mod.rs",
            "use crate::gateway::store; use crate::mux::Session; use super::wire;",
        ),
        (
            "gateway/mod.rs",
            "// use crate::agent::X;\n/* crate::agent /* crate::agent */ */ /// [`crate::agent`]\n",
        ),
        (
            "gateway/mod.rs",
            r###"const S: &str = "crate::agent"; const R: &str = r#"" crate::agent"#;"###,
        ),
        (
            "gateway/mod.rs",
            "use crate::mux::agent; use crate::agent_id::X; let agent = 1; agent::<u8>();",
        ),
        (
            "gateway/mod.rs",
            "mod agent; use self::agent::Entry; use super::gateway::agent::Entry;",
        ),
        (
            "gateway/mod.rs",
            "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' } mod tests { use super::agent::X; }",
        ),
        (
            "agent/kube.rs",
            "use kube::{Client, api::Api}; use k8s_openapi::api::core::v1::Pod;",
        ),
        (
            "mux/mod.rs",
            "use crate::wire::limits; use tokio::io::AsyncRead; let t = Instant::now();",
        ),
        (
            "wire/mod.rs",
            "use std::time::{Duration, SystemTime}; use core::net::IpAddr; fn f(now: SystemTime) {}",
        ),
        (
            "wire/mod.rs",
            "use crate::wire::limits::MAX; use super::wire::limits;",
        ),
        ("lib.rs", "pub mod agent; pub mod gateway;"),
        ("dev/mod.rs", "use crate::{agent, gateway};"),
        (
            "bin/pipeops-dev.rs",
            "use pipeops_tunnel::{agent, gateway};",
        ),
        ("bin/pipeops-agent.rs", "use pipeops_tunnel::agent::run;"),
    ] {
        let broken = violations(&[(PathBuf::from(file), text.to_owned())]);
        assert!(broken.is_empty(), "{file}: {text}: {broken:?}");
    }
}
