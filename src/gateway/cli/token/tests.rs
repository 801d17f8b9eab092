use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Program {
    #[command(subcommand)]
    command: TokenCommand,
}

async fn run(operator: &Operator, line: &str) -> Result<Output, String> {
    let words = std::iter::once("token").chain(line.split_whitespace());
    let program = Program::try_parse_from(words).map_err(|e| e.to_string())?;
    program
        .command
        .run(operator)
        .await
        .map_err(|e| e.to_string())
}

async fn text(operator: &Operator, line: &str) -> String {
    run(operator, line)
        .await
        .unwrap()
        .result
        .expose_secret()
        .to_owned()
}

async fn operator() -> (tempfile::TempDir, Operator) {
    let dir = tempfile::tempdir().unwrap();
    let operator = Operator::open(dir.path()).await.unwrap();
    (dir, operator)
}

#[tokio::test]
async fn an_agents_token_stands_alone_on_stdout() {
    let (_dir, operator) = operator().await;
    let output = run(
        &operator,
        "create agent --cluster prod --cluster-id cls-123abc",
    )
    .await
    .unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    output.write_to(&mut out, &mut err).unwrap();
    let out = String::from_utf8(out).unwrap();
    let secret = crate::wire::token::parse(out.trim_end()).unwrap().secret;
    assert_eq!(out.lines().count(), 1);
    assert_eq!(
        String::from_utf8(err).unwrap(),
        "registered the new cluster 'prod' with the id cls-123abc\n"
    );
    assert!(!format!("{output:?}").contains(secret));

    let json = text(
        &operator,
        "create agent --cluster prod --expires 90d -o json",
    )
    .await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["cluster"], &json["cluster_id"]),
        (&json!("prod"), &json!("cls-123abc"))
    );
    assert!(json["expires_at"].is_string() && json["id"].is_string() && json["token"].is_string());
    assert_eq!(json["cluster_created"], json!(false));
}

#[tokio::test]
async fn a_users_token_has_careful_defaults() {
    let (_dir, operator) = operator().await;
    text(&operator, "create agent --cluster prod").await;
    let json = text(
        &operator,
        "create user --subject alice --cluster prod -o json",
    )
    .await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["role"], &json["scopes"]),
        (&json!("viewer"), &json!(["tunnel:*"]))
    );
    let expires: Timestamp = json["expires_at"].as_str().unwrap().parse().unwrap();
    let days = expires.duration_since(Timestamp::now()).as_hours() / 24;
    assert!((29..=30).contains(&days), "{days}");

    let forever = "create user --subject ci --all-clusters --expires never --scope deploy --scope read -o json";
    let json: serde_json::Value = serde_json::from_str(&text(&operator, forever).await).unwrap();
    assert_eq!(
        (&json["all_clusters"], &json["expires_at"]),
        (&json!(true), &json!(null))
    );
    assert_eq!(json["scopes"], json!(["deploy", "read"]));
}

#[tokio::test]
async fn mistakes_are_explained() {
    let (_dir, operator) = operator().await;
    text(&operator, "create agent --cluster prod").await;
    let cases = [
        (
            "create user --subject a --cluster pord",
            "did you mean prod?",
        ),
        ("create user --subject a", "--cluster <NAME>"),
        (
            "create user --subject a --cluster prod --all-clusters",
            "cannot be used with",
        ),
        (
            "create user --subject a --cluster prod --scope write",
            "tunnel:<service>",
        ),
        (
            "create user --subject a --cluster prod --expires soon",
            "such as 30s, 15m, 12h or 90d",
        ),
        (
            "create agent --cluster Prod",
            "must match pattern ^[a-z0-9-]+$",
        ),
        ("revoke aaaaaaaaaaaaaaaa", "no token has the id"),
        ("revoke pipeops_user_x", "16 characters"),
    ];
    for (line, expected) in cases {
        let error = run(&operator, line).await.unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[tokio::test]
async fn the_list_shows_states_and_no_secrets() {
    let (_dir, operator) = operator().await;
    let agent = text(&operator, "create agent --cluster prod").await;
    let user = text(&operator, "create user --subject alice --all-clusters").await;
    let id = crate::wire::token::parse(&user).unwrap().id;
    assert_eq!(
        text(&operator, &format!("revoke {id}")).await,
        format!("revoked {id} (alice)")
    );

    let list = text(&operator, "list").await;
    assert_eq!(list.lines().count(), 3);
    assert!(list.starts_with("ID  "), "{list}");
    assert!(
        list.lines()
            .any(|l| l.contains("agent") && l.contains("never") && l.ends_with("active")),
        "{list}"
    );
    assert!(
        list.lines()
            .any(|l| l.starts_with(id.as_str()) && l.ends_with("revoked")),
        "{list}"
    );
    let json = text(&operator, "list -o json").await;
    for token in [agent, user] {
        let secret = crate::wire::token::parse(&token).unwrap().secret;
        assert!(!list.contains(secret) && !json.contains(secret));
    }
}
