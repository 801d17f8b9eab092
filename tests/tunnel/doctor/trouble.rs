//! What the doctor says of each thing that can be wrong with the way to the gateway.

use super::{chmod, command, config, diagnose, doctor};
use crate::{
    common::{
        agent::{AgentConfig, Diagnosis},
        free_port,
    },
    fake_gateway::{FakeGateway, Manner},
    fixture::{shared_gateway, until},
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::{fs, net::TcpListener, time::Duration};

/// With another gateway than the one of all tests.
fn by(api_url: String, ca: Option<&FakeGateway>) -> AgentConfig {
    config(shared_gateway(), &[]).edit(|yaml| {
        yaml["pipeops"]["api_url"] = api_url.into();
        if let Some(gateway) = ca {
            yaml["pipeops"]["ca_file"] = json!(gateway.ca);
        }
    })
}

async fn with(manner: Manner) -> (FakeGateway, Diagnosis) {
    let gateway = FakeGateway::start(manner).await;
    let url = format!("https://localhost:{}", gateway.addr.port());
    let found = doctor(&by(url, Some(&gateway))).await;
    (gateway, found)
}

/// That component has failed, those after it were not looked at, and an action says what to do.
fn assert_failed<'a>(found: &'a Diagnosis, component: &str, skipped: &[&str]) -> &'a Value {
    assert_eq!(found.code, Some(1), "{:#}", found.report);
    let finding = found.finding(component, "");
    assert_eq!(finding["status"], "failed", "{finding}");
    assert!(!finding["action"].as_str().unwrap().is_empty());
    for component in skipped {
        assert_eq!(found.status(component), "skipped", "{:#}", found.report);
    }
    finding
}

fn details(finding: &Value) -> &str {
    finding["details"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_unknown_empty_or_of_another_cluster() {
    let gateway = shared_gateway();
    let unknown = config(gateway, &[]);
    fs::write(unknown.token_file(), "pipeops_agent_nonsense").unwrap();
    let found = doctor(&unknown).await;
    let finding = assert_failed(&found, "token", &["carrier"]);
    assert!(details(finding).contains("refuses"), "{finding}");
    assert_eq!(found.status("tls"), "ok");
    assert_eq!(found.status("clock"), "ok", "by the Date of another answer");

    fs::write(unknown.token_file(), "\n").unwrap();
    let found = doctor(&unknown).await;
    let finding = assert_failed(&found, "token", &["carrier"]);
    assert!(details(finding).contains("is empty"), "{finding}");

    let other = config(gateway, &[]).edit(|yaml| yaml["agent"]["cluster_id"] = "cls-other".into());
    let found = doctor(&other).await;
    let finding = assert_failed(&found, "token", &["carrier"]);
    assert!(details(finding).contains("another cluster"), "{finding}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_ended_is_not_yet_valid_or_of_another_name() {
    for (manner, words) in [
        (
            Manner {
                years: (2020, 2021),
                ..Manner::default()
            },
            ["expired", "2021-01-01", "renew"],
        ),
        (
            Manner {
                years: (2190, 2200),
                ..Manner::default()
            },
            ["not valid yet", "2200-01-01", "clock"],
        ),
        (
            Manner {
                name: "other.example.com",
                ..Manner::default()
            },
            ["not valid for name", "other.example.com", "names"],
        ),
    ] {
        let (gateway, found) = with(manner).await;
        let finding = assert_failed(&found, "tls", &["token", "carrier"]).to_string();
        for word in words {
            assert!(finding.contains(word), "{word}: {finding}");
        }
        assert_eq!(
            found.status("clock"),
            "ok",
            "by the Date of whoever answers"
        );
        assert!(found.details("clock").contains("not trusted"));
        let seen = gateway.seen().join("");
        assert!(seen.contains("HEAD / "), "{seen}");
        assert!(
            !seen.to_lowercase().contains("authorization"),
            "nobody unknown is shown the token: {seen}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_ca() {
    let gateway = shared_gateway();
    let stranger = FakeGateway::start(Manner::default()).await;
    let config = config(gateway, &[]).edit(|yaml| yaml["pipeops"]["ca_file"] = json!(stranger.ca));
    let found = doctor(&config).await;
    let finding = assert_failed(&found, "tls", &["token", "carrier"]);
    assert!(details(finding).contains("UnknownIssuer"), "{finding}");
    assert!(
        finding["action"]
            .as_str()
            .unwrap()
            .contains("pipeops.ca_file")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_exist() {
    let found = doctor(&by("https://gateway.invalid".to_owned(), None)).await;
    assert_failed(&found, "dns", &["tcp", "tls", "token", "carrier", "clock"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_at_which_nobody_listens() {
    let url = format!("https://127.0.0.1:{}", free_port());
    let found = doctor(&by(url, None)).await;
    let finding = assert_failed(&found, "tcp", &["tls", "token", "carrier", "clock"]);
    assert!(details(finding).contains("refused"), "{finding}");
    assert!(found.details("dns").contains("is an address"));
}

/// A listener whose backlog is full: the system answers no further connection.
fn black_hole() -> (TcpListener, Vec<std::net::TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(500)) {
        filling.push(stream);
        assert!(
            filling.len() < 100,
            "a backlog of 0 holds no hundred connections"
        );
    }
    (listener, filling)
}

#[tokio::test(flavor = "multi_thread")]
async fn black_holes_are_given_up() {
    let (hole, _filling) = black_hole();
    let url = format!("https://{}", hole.local_addr().unwrap());
    let found = diagnose(command(&by(url, None), &["--timeout", "1s"])).await;
    let finding = assert_failed(&found, "tcp", &["tls", "token", "carrier", "clock"]);
    assert!(
        details(finding).contains("no answer within 1s"),
        "{finding}"
    );

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", silent.local_addr().unwrap());
    let found = diagnose(command(&by(url, None), &["--timeout", "1s"])).await;
    let finding = assert_failed(&found, "tls", &["token", "carrier", "clock"]);
    assert!(details(finding).contains("timed out after 1s"), "{finding}");

    let gateway = FakeGateway::start(Manner {
        silent: true,
        ..Manner::default()
    })
    .await;
    let url = format!("https://localhost:{}", gateway.addr.port());
    let found = diagnose(command(&by(url, Some(&gateway)), &["--timeout", "1s"])).await;
    let finding = assert_failed(&found, "token", &["carrier", "clock"]);
    assert!(details(finding).contains("does not answer"), "{finding}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_do_not_agree() {
    for (ahead, status, code, word) in [
        (3_600, "failed", 1, "behind"),
        (-3_600, "failed", 1, "ahead of"),
        (60, "warning", 0, "behind"),
        (0, "ok", 0, ""),
    ] {
        let manner = Manner {
            ahead: SignedDuration::from_secs(ahead),
            kinds: &["pigeon"],
            ..Manner::default()
        };
        let (_, found) = with(manner).await;
        assert_eq!(
            (found.status("clock"), found.code),
            (status, Some(code)),
            "{ahead}: {:#}",
            found.report
        );
        assert!(
            found.details("clock").contains(word),
            "{}",
            found.details("clock")
        );
        assert_eq!(
            found.status("carrier"),
            "skipped",
            "of a kind that nobody has"
        );
    }
}

/// One from before probes takes the doctor for an agent: it leaves before it could be given a request.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_knows_no_probes_is_left_at_once() {
    let manner = Manner {
        probes: false,
        kinds: &["tls"],
        ..Manner::default()
    };
    let (gateway, found) = with(manner).await;
    assert_eq!(
        (found.status("token"), found.code),
        ("ok", Some(0)),
        "{:#}",
        found.report
    );
    assert_eq!(found.status("carrier"), "skipped");
    assert!(found.details("carrier").contains("knows no probes"));
    assert_eq!(found.status("clock"), "ok", "by the Date of another answer");
    until("the channel's end", || {
        let seen = gateway.seen();
        // It may go while the gateway still writes.
        let ends = ["closed by the agent", "lost"].map(str::to_owned);
        if ends.iter().any(|end| seen.contains(end)) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
    let seen = gateway.seen();
    assert!(
        !seen.iter().any(|head| head.contains("/v1/agent/carrier")),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_is_refused() {
    let (_, found) = with(Manner {
        kinds: &["tls"],
        ..Manner::default()
    })
    .await;
    let finding = assert_failed(&found, "carrier", &[]);
    assert!(details(finding).contains("404"), "{finding}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_there() {
    let config = config(shared_gateway(), &[]).edit(|yaml| {
        yaml["pipeops"]["token_file"] = "/nonexistent/token".into();
        yaml["pipeops"]["ca_file"] = "/nonexistent/ca.crt".into();
    });
    let found = doctor(&config).await;
    assert_eq!(found.finding("file", "token")["status"], "failed");
    assert_eq!(found.finding("file", "ca.crt")["status"], "failed");
    assert_failed(
        &found,
        "gateway",
        &["dns", "tcp", "tls", "token", "carrier", "clock"],
    );
    let readable = super::config(shared_gateway(), &[]);
    chmod(&readable.token_file(), 0o604);
    let found = doctor(&readable).await;
    assert_eq!(found.finding("file", "token")["status"], "warning");
    assert_eq!(found.code, Some(0), "a warning is no failure");
}
