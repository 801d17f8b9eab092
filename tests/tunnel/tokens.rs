//! Who gets in, and with what.

use crate::{
    connecting::{MUX, WEBSOCKET, knock},
    fixture::{Cluster, FORMS, Form, Tunnel, shared_gateway, until},
    origin::Origin,
    wire::Answer,
};
use std::time::{Duration, Instant};

/// The answer to a GET of `demo` with this `Authorization`, if any.
async fn ask(tunnel: &Tunnel, form: Form, authorization: Option<&str>) -> Answer {
    let line =
        authorization.map_or_else(String::new, |value| format!("Authorization: {value}\r\n"));
    let request = format!(
        "GET {}/x HTTP/1.1\r\nHost: {}\r\n{line}\r\n",
        tunnel.prefix(form),
        tunnel.host(form)
    );
    tunnel.connect(form).await.ask(request).await
}

/// Tokens that look like this one, or like one at all.
fn wrong_tokens(token: &str) -> Vec<String> {
    let (start, last) = token.split_at(token.len() - 1);
    let other = if last == "a" { "b" } else { "a" };
    vec![
        "garbage".to_owned(),
        format!("{start}{other}"),
        start.to_owned(),
        format!("{token}a"),
        token.to_uppercase(),
        token.replace("_user_", "_agent_"),
        format!("pipeops_user_{}_{}", "a".repeat(16), "a".repeat(52)),
        "x".repeat(5000),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_token_nothing_passes() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let tokens = wrong_tokens(&tunnel.token);
    for form in FORMS {
        let answer = ask(&tunnel, form, None).await;
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (401, "UNAUTHORIZED")
        );
        assert!(
            answer
                .head
                .get("www-authenticate")
                .is_some_and(|v| v.starts_with("Bearer")),
            "{:?}",
            answer.head
        );
        for token in &tokens {
            let answer = ask(&tunnel, form, Some(&format!("Bearer {token}"))).await;
            assert_eq!(
                (answer.status(), answer.code().as_str()),
                (401, "UNAUTHORIZED"),
                "{token}"
            );
            assert!(answer.head.has("www-authenticate"));
            assert!(
                !answer.text().contains(token),
                "an error repeats a token: {}",
                answer.text()
            );
        }
        for other in [format!("Basic {}", tunnel.token), tunnel.token.clone()] {
            assert_eq!(
                ask(&tunnel, form, Some(&other)).await.status(),
                401,
                "{other}"
            );
        }
        for odd in [
            "Bearer".to_owned(),
            "Bearer ".to_owned(),
            format!("Bearer {0} {0}", tunnel.token),
            format!("Bearer {0},{0}", tunnel.token),
        ] {
            let status = ask(&tunnel, form, Some(&odd)).await.status();
            assert!([400, 401].contains(&status), "{odd}: {status}");
        }
    }
    origin.assert_untouched("no valid token");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tokens_are_no_token() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let two = format!("Authorization: Bearer {}\r\n", tunnel.token);
    let answer = tunnel.ask(tunnel.head(Form::Host, "GET", "/", &two)).await;
    assert!(
        [400, 401].contains(&answer.status()),
        "{}",
        answer.head.first
    );
    let answer = tunnel
        .ask(tunnel.head(Form::Host, "GET", "/", "Authorization: Bearer other\r\n"))
        .await;
    assert!(
        [400, 401].contains(&answer.status()),
        "{}",
        answer.head.first
    );
    origin.assert_untouched("two tokens");
    // A token elsewhere is none at all.
    let host = tunnel.host(Form::Host);
    for (target, line) in [
        (
            format!("/demo/?access_token={}", tunnel.token),
            String::new(),
        ),
        (
            "/demo/".to_owned(),
            format!("Cookie: token={}\r\n", tunnel.token),
        ),
        (
            "/demo/".to_owned(),
            format!("Proxy-Authorization: Bearer {}\r\n", tunnel.token),
        ),
        (
            "/demo/".to_owned(),
            format!("X-Authorization: Bearer {}\r\n", tunnel.token),
        ),
    ] {
        let answer = tunnel
            .ask(format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\n{line}\r\n"
            ))
            .await;
        assert_eq!(answer.status(), 401);
    }
    origin.assert_untouched("a token in the wrong place");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_token_is_no_users_token() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let token = tunnel
        .gateway
        .agent_token(&tunnel.cluster.name, &tunnel.cluster.id);
    for form in FORMS {
        let answer = ask(&tunnel, form, Some(&format!("Bearer {token}"))).await;
        assert_eq!(
            (answer.status(), answer.code().as_str()),
            (403, "FORBIDDEN"),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains(&token));
    }
    origin.assert_untouched("an agent's token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_is_lacking_is_named() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    for scope in ["tunnel:kubernetes", "tunnel:demo2", "tunnel:dem", "logs"] {
        let token = tunnel
            .gateway
            .user_token("narrow", "admin", &tunnel.cluster.name, scope);
        for form in FORMS {
            let answer = ask(&tunnel, form, Some(&format!("Bearer {token}"))).await;
            assert_eq!(
                (answer.status(), answer.code().as_str()),
                (403, "SCOPE_MISSING"),
                "{scope}"
            );
            assert!(
                answer.message().contains("tunnel:demo"),
                "{}",
                answer.message()
            );
        }
    }
    origin.assert_untouched("no scope");
    let token = tunnel
        .gateway
        .user_token("wide", "viewer", &tunnel.cluster.name, "tunnel:*");
    assert_eq!(
        ask(&tunnel, Form::Host, Some(&format!("bearer {token}")))
            .await
            .status(),
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_refused() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let token = tunnel.gateway.cli(&[
        "token",
        "create",
        "user",
        "--subject",
        "brief",
        "--role",
        "viewer",
        "--cluster",
        &tunnel.cluster.name,
        "--scope",
        "tunnel:demo",
        "--expires",
        "2s",
    ]);
    let bearer = format!("Bearer {token}");
    let end = Instant::now() + crate::wire::DEADLINE;
    loop {
        let answer = ask(&tunnel, Form::Host, Some(&bearer)).await;
        if answer.status() == 401 {
            assert!(answer.message().contains("expired"), "{}", answer.message());
            break;
        }
        assert_eq!(answer.status(), 200);
        assert!(Instant::now() < end, "the token does not expire");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Sends a token in every place where one may end up by mistake.
async fn say_everywhere(tunnel: &Tunnel, token: &str) {
    for form in FORMS {
        ask(tunnel, form, Some(&format!("Bearer {token}"))).await;
        ask(tunnel, form, Some(&format!("Basic {token}"))).await;
    }
    let host = tunnel.host(Form::Host);
    let fields = format!("Host: {host}\r\nX-Request-Id: {token}\r\n");
    tunnel
        .ask(format!("GET /demo/?token={token} HTTP/1.1\r\n{fields}\r\n"))
        .await;
    let mut client = tunnel.connect(Form::Host).await;
    drop(
        client
            .try_send(format!("GET /{token} HTTP/9\r\n\r\n"))
            .await,
    );
    for (path, asks) in [("/v1/agent/connect", WEBSOCKET), ("/v1/agent/carrier", MUX)] {
        knock(
            &tunnel.gateway,
            path,
            &format!("{asks}Authorization: Bearer {token}\r\n"),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_ever_in_a_log() {
    let origin = Origin::echo().await;
    let tunnel = Tunnel::to(&origin);
    let agent = tunnel
        .gateway
        .agent_token(&tunnel.cluster.name, &tunnel.cluster.id);
    let other = Cluster::new();
    tunnel.gateway.agent_token(&other.name, &other.id);
    let foreign = tunnel
        .gateway
        .user_token("foreign", "admin", &other.name, "admin");
    let tokens = [
        tunnel.token.clone(),
        agent,
        foreign,
        format!("pipeops_user_nobodys_{}", "z".repeat(60)),
    ];
    for token in &tokens {
        say_everywhere(&tunnel, token).await;
    }
    until("the requests in the log", || {
        let log = tunnel.gateway.process.output();
        let seen = log
            .lines()
            .filter(|line| line.contains(&tunnel.cluster.id))
            .count();
        if seen > 0 {
            Ok(())
        } else {
            Err("nothing".to_owned())
        }
    })
    .await;
    for (who, log) in [
        ("gateway", tunnel.gateway.process.output()),
        ("agent", tunnel.agent.process.output()),
    ] {
        for token in &tokens {
            let secret = token.rsplit('_').next().unwrap();
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "the {who}'s log has a secret");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_tokens_holds_no_secret() {
    let gateway = shared_gateway();
    let cluster = Cluster::new();
    gateway.agent_token(&cluster.name, &cluster.id);
    let token = gateway.user_token("listed", "viewer", &cluster.name, "tunnel:demo");
    let secret = token.rsplit('_').next().unwrap();
    for args in [&["token", "list"][..], &["token", "list", "-o", "json"]] {
        let listed = gateway.cli(args);
        assert!(
            listed.contains("listed") && !listed.contains(secret),
            "{listed}"
        );
    }
}
