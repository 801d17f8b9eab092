//! `pipeops-gateway forward`, as people and scripts use it.

use crate::{
    command::{self, Forward, command},
    common::{DEADLINE, free_port, sum::Seeded},
    fixture::Tunnel,
    origin::{Conn, Origin},
    setup::{demo, tcp},
    wire::{Wire, response, within},
};
use std::{
    io::Write,
    net::SocketAddr,
    process::{Command, Output, Stdio},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

async fn dial(addr: SocketAddr) -> Conn {
    Wire::new(
        within("the forward", TcpStream::connect(addr))
            .await
            .unwrap(),
    )
}

/// Runs a command that is to end by itself.
async fn ended(mut command: Command) -> (Option<i32>, String, String) {
    let run = move || command.output().unwrap();
    let out: Output = within("the command", tokio::task::spawn_blocking(run))
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_pass_with_their_ends() {
    let (tunnel, mut targets) = tcp().await;
    let forward = Forward::start(&tunnel, &[]);
    assert!(forward.addr.ip().is_loopback());
    let mut client = dial(forward.addr).await;
    let mut target = targets.next().await;
    let (there, back) = (Seeded::bytes(3, 5_000_000), Seeded::bytes(4, 5_000_000));
    client.send("?").await;
    assert_eq!(target.exactly(1).await, b"?");
    let (got, sent) = tokio::join!(
        async {
            client.send(&there).await;
            client.io.shutdown().await.unwrap();
            client.rest().await
        },
        async {
            let got = target.rest().await;
            target.send(&back).await;
            target.io.shutdown().await.unwrap();
            got
        }
    );
    assert!(got.complete && got.bytes == back, "down differs");
    assert!(sent.complete && sent.bytes == there, "up differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_lets_connections_end() {
    let (tunnel, mut targets) = tcp().await;
    let mut forward = Forward::start(&tunnel, &[]);
    let mut client = dial(forward.addr).await;
    let mut target = targets.next().await;
    forward.process.signal("INT");
    let gone = async {
        while TcpStream::connect(forward.addr).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    within("the listener to close", gone).await;
    client.send("late").await;
    assert_eq!(target.exactly(4).await, b"late");
    assert!(forward.process.is_running());
    drop((client, target));
    assert!(forward.process.wait_exit(DEADLINE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_ctrl_c_ends_it_at_once() {
    let (tunnel, mut targets) = tcp().await;
    let mut forward = Forward::start(&tunnel, &[]);
    let _client = dial(forward.addr).await;
    let _target = targets.next().await;
    forward.process.signal("INT");
    std::thread::sleep(std::time::Duration::from_millis(300));
    forward.process.signal("INT");
    let status = forward.process.wait_exit(DEADLINE);
    assert_eq!(status.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_work_is_told_before_it_listens() {
    let origin = Origin::answering(|_, _| response("200 OK", "", "")).await;
    let raw = Tunnel::with(&[demo("tcp", origin.addr)]);
    let web = Tunnel::with(&[demo("http", origin.addr)]);
    let all = raw
        .gateway
        .user_token("all", "viewer", &raw.cluster.name, "tunnel:*");
    let agents = raw.gateway.agent_token("another", "cls-another");
    let port = ["--local", "0"];
    let mut unreachable = command(&raw, &port);
    let nowhere = format!("https://localhost:{}", free_port());
    unreachable.args(["--public-url", &nowhere]);
    let cases = [
        (
            command::to(&raw, "other", &raw.token, &port),
            1,
            "SCOPE_MISSING",
        ),
        (
            command::to(&raw, "other", &all, &port),
            1,
            "SERVICE_UNKNOWN",
        ),
        (
            command::to(&raw, "demo", "nonsense", &port),
            1,
            "holds no token",
        ),
        (
            command::to(&raw, "demo", &agents, &port),
            1,
            "for an agent alone",
        ),
        (command::bare(&raw, "demo", &port), 1, "--token-file"),
        (command::to(&raw, "Demo", &all, &port), 2, "must be a name"),
        (
            command(&raw, &["--local", "here"]),
            2,
            "must be ADDRESS:PORT",
        ),
        (command(&web, &port), 1, "speaks HTTP: use its URL https://"),
    ];
    for (command, code, says) in cases {
        let shown = format!("{command:?}");
        let (status, out, err) = ended(command).await;
        assert_eq!(status, Some(code), "{shown}: {err}");
        assert!(err.contains(says), "{shown}: {err}");
        assert!(out.is_empty(), "{shown}: {out}");
        assert!(!err.contains(&all), "a token is shown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_not_there_or_not_trusted_is_told() {
    let (tunnel, _targets) = tcp().await;
    let port = format!("127.0.0.1:{}", free_port());
    let token = command::token_file(&tunnel.token);
    let run = |url: String| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipeops-gateway"));
        command
            .args([
                "forward",
                "prod",
                "demo",
                "--local",
                &port,
                "--public-url",
                &url,
            ])
            .arg("--token-file")
            .arg(&token);
        ended(command)
    };
    let (code, _, err) = run(format!("https://localhost:{}", free_port())).await;
    assert_eq!(code, Some(1));
    assert!(
        err.contains("cannot reach the gateway at localhost:"),
        "{err}"
    );
    let own = format!("https://localhost:{}", tunnel.gateway.addr.port());
    let (code, _, err) = run(own).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("give its CA by --ca-file"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fails_says_whose_fault_it_is_and_the_next_may_work() {
    let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let tunnel = Tunnel::with(&[demo("tcp", addr)]);
    let mut forward = Forward::start(&tunnel, &[]);
    let mut client = dial(forward.addr).await;
    let rest = client.rest().await;
    assert!(rest.bytes.is_empty() && !rest.complete, "{rest:?}");
    let line = forward.process.wait_text("TARGET_REFUSED");
    assert!(line.contains("error: connection from 127.0.0.1:"), "{line}");
    assert!(line.contains("check that it runs"), "{line}");
    let listener = tokio::net::TcpListener::bind(addr).await.unwrap();
    let mut client = dial(forward.addr).await;
    let (mut target, _) = within("the target", listener.accept()).await.unwrap();
    target.write_all(b"now").await.unwrap();
    assert_eq!(client.exactly(3).await, b"now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_comes_by_standard_input_or_the_environment_too() {
    let (tunnel, mut targets) = tcp().await;
    let port = ["--local", "0"];
    let mut by_variable = command::bare(&tunnel, "demo", &port);
    by_variable.env("PIPEOPS_TOKEN", &tunnel.token);
    let forward = Forward::of(&mut by_variable);
    dial(forward.addr).await.send("1").await;
    assert_eq!(targets.next().await.exactly(1).await, b"1");

    let mut by_input = command::bare(&tunnel, "demo", &port);
    by_input.args(["--token-file", "-"]).stdin(Stdio::piped());
    let mut process = crate::common::process::Process::spawn("forward", &mut by_input);
    process
        .stdin()
        .write_all(format!("{}\n", tunnel.token).as_bytes())
        .unwrap();
    process.wait_text("forwarding 127.0.0.1:");
}

/// As ssh does it with a `ProxyCommand`.
#[tokio::test(flavor = "multi_thread")]
async fn standard_input_and_output_are_one_connection() {
    let (tunnel, mut targets) = tcp().await;
    let mut run = command(&tunnel, &["--local", "-"]);
    let mut child = run
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut target = targets.next().await;
    child.stdin.take().unwrap().write_all(b"in").unwrap();
    let rest = target.rest().await;
    assert!(rest.complete && rest.bytes == b"in");
    target.send("out").await;
    drop(target);
    let wait = move || child.wait_with_output().unwrap();
    let out = within("its end", tokio::task::spawn_blocking(wait))
        .await
        .unwrap();
    assert!(out.status.success());
    assert_eq!(out.stdout, b"out");
}
