//! `promtool check metrics`, the linter of Prometheus: it complains of the contract's names and of
//! nothing else. docs/metrics.md says why they stay.

use crate::{
    common::gateway::Gateway,
    fixture::{Tunnel, demo},
    origin::Origin,
    scrape::{TEXT, metrics},
};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// The linter's complaints.
fn check(text: &str) -> Vec<String> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package `prometheus`");
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let out = promtool.wait_with_output().unwrap();
    let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
    // 3 says that there are complaints; anything else that it did not understand.
    let expected = if said.is_empty() { 0 } else { 3 };
    assert_eq!(out.status.code(), Some(expected), "{said}");
    said.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn only_the_contracts_names_are_complained_of() {
    let origin = Origin::echo().await;
    let mut tunnel = Tunnel::own(Gateway::start(), &[demo(&origin)]);
    assert_eq!(tunnel.ask(tunnel.post("/", "hello")).await.text(), "hello");
    let agent = metrics(tunnel.agent.face().metrics, TEXT).await;
    let gateway = metrics(tunnel.own_gateway().face().metrics, TEXT).await;
    let no_total = "counter metrics should have \"_total\" suffix";
    assert_eq!(
        check(&agent),
        [
            format!("pipeops_tunnel_bytes_received {no_total}"),
            format!("pipeops_tunnel_bytes_sent {no_total}"),
        ]
    );
    assert_eq!(check(&gateway), [""; 0]);
}
