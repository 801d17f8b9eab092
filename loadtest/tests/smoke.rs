//! The load tester against the real programs, a second each: it must not rot.
#![expect(clippy::unwrap_used, clippy::disallowed_types, reason = "tests")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for a busy machine that has to build the programs first.
const DEADLINE: Duration = Duration::from_secs(1200);

fn loadtest(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command
        .args(words)
        .args(["--wait", "0", "--max-foreign", "1"]);
    command
}

/// Runs a scenario for a second a case, and answers its samples.
fn samples(words: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let out = loadtest(words)
        .args(["--seconds", "1", "--out"])
        .arg(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{words:?}: {said}");
    let table = String::from_utf8(out.stdout).unwrap();
    assert!(table.contains("| case | subject |"), "{table}");
    let json = fs::read_to_string(folder.path().join("results.json")).unwrap();
    let report: Value = serde_json::from_str(&json).unwrap();
    report["samples"].as_array().unwrap().clone()
}

#[track_caller]
fn figure(sample: &Value, name: &str) -> f64 {
    let value = sample["values"][name].as_f64();
    value.unwrap_or_else(|| panic!("no '{name}' in {sample:#}"))
}

#[test]
fn bulk_moves_bytes_both_ways_and_says_what_they_cost() {
    let samples = samples(&["bulk", "--counts", "2"]);
    let cases: Vec<_> = samples
        .iter()
        .map(|sample| sample["case"].as_str().unwrap())
        .collect();
    assert_eq!(cases, ["2 down", "2 up"]);
    for sample in &samples {
        assert!(figure(sample, "MiB/s") > 0.0);
        assert!(figure(sample, "both s/GiB") > 0.0);
        assert!(figure(sample, "server MiB") > 1.0 && figure(sample, "agent MiB") > 1.0);
    }
}

#[test]
fn small_is_compared_with_no_tunnel_in_turns() {
    let samples = samples(&["small", "--counts", "4", "--vs", "direct", "--rounds", "2"]);
    let turns: Vec<_> = samples
        .iter()
        .map(|sample| sample["subject"].as_str().unwrap())
        .collect();
    assert_eq!(turns, ["pipeops", "direct", "direct", "pipeops"]);
    for sample in &samples {
        assert!(figure(sample, "req/s") > 0.0);
        assert_eq!(figure(sample, "bad"), 0.0, "{sample:#}");
        assert!(figure(sample, "p99 ms") >= figure(sample, "p50 ms"));
    }
}

#[test]
fn readers_that_stop_leave_the_probe_answered() {
    let samples = samples(&["stall", "--counts", "16", "--front", "tls"]);
    let [sample] = samples.as_slice() else {
        panic!("one case")
    };
    assert_eq!(figure(sample, "stalled"), 16.0);
    assert_eq!(figure(sample, "bad"), 0.0, "{sample:#}");
}

/// Processes that a process has started.
fn children(pid: u32) -> Vec<u32> {
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

fn wait_until(what: &str, mut come: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !come() {
        assert!(Instant::now() < end, "{what} did not come about");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_is_left_of_a_run_that_is_killed() {
    let mut command = loadtest(&["soak", "--seconds", "600"]);
    let mut run = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The reaper, the origin, the gateway and the agent.
    wait_until("all processes", || children(run.id()).len() == 4);
    let started = children(run.id());
    run.kill().unwrap();
    run.wait().unwrap();
    wait_until("the end of all", || {
        started
            .iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });
}
