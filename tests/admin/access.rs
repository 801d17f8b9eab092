//! Who may ask for `/info` and `/config`, and how often.

use crate::{
    client::{ask, get},
    common::agent::Agent,
    fixture::{Cluster, agent, shared_gateway},
};

const TOKEN: &str = "admin-canary-3f1c";

fn with_token() -> Agent {
    agent(shared_gateway(), &Cluster::new(), &[])
        .edit(|config| config["admin"]["token"] = TOKEN.into())
        .spawn()
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_loopback_needs_it_too_and_nothing_shows_it() {
    let mut agent = with_token();
    let at = agent.face().admin;
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for path in ["/info", "/config"] {
        for wrong in [
            "",
            "Authorization: Bearer nonsense\r\n",
            "Authorization: Basic x\r\n",
        ] {
            let answer = ask(at, "GET", path, wrong).await;
            assert_eq!(
                (answer.status(), answer.code().as_str()),
                (401, "UNAUTHORIZED")
            );
            assert_eq!(answer.head.get("www-authenticate"), Some("Bearer"));
            // A refusal counts: nobody guesses for long.
            assert!(answer.head.has("x-ratelimit-remaining"));
        }
        let answer = ask(at, "GET", path, &bearer).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert!(!answer.text().contains(TOKEN), "{}", answer.text());
    }
    assert_eq!(get(at, "/readyz").await.head.get("www-authenticate"), None);
    assert!(!agent.process.output().contains(TOKEN));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_the_reference_are_kept_and_told() {
    let mut agent = with_token();
    let face = agent.face();
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    for (at, path, limit, burst) in [
        (face.admin, "/info", "60", 10),
        (face.admin, "/version", "60", 10),
        (face.admin, "/config", "10", 5),
        (face.metrics, "/metrics", "60", 10),
    ] {
        let mut passed = 0;
        // A slow machine earns some on the way; it does not get far.
        let refused = loop {
            let answer = ask(at, "GET", path, &bearer).await;
            let number = |name| -> i64 { answer.head.get(name).unwrap().parse().unwrap() };
            assert_eq!(answer.head.get("x-ratelimit-limit"), Some(limit), "{path}");
            let now = jiff::Timestamp::now().as_second();
            assert!((now - 5..now + 120).contains(&number("x-ratelimit-reset")));
            if answer.status() == 429 {
                break answer;
            }
            assert!(number("x-ratelimit-remaining") < burst, "{path}");
            passed += 1;
            assert!(passed < 1000, "{path} has no limit");
        };
        assert!(passed >= burst, "{path}: {passed}");
        assert_eq!(refused.code(), "TOO_MANY_REQUESTS");
        assert_eq!(refused.head.get("x-ratelimit-remaining"), Some("0"));
        let wait: u64 = refused.head.get("retry-after").unwrap().parse().unwrap();
        assert!((1..=6).contains(&wait), "{path}: {wait}");
    }
    for _ in 0..200 {
        let answer = get(face.admin, "/healthz").await;
        assert_eq!(answer.status(), 200);
        assert!(!answer.head.has("x-ratelimit-limit"));
    }
}
