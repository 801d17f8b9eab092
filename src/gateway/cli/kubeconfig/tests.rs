use super::*;
use clap::Parser;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    args: KubeconfigArgs,
}

fn address() -> PublicAddress {
    PublicAddress {
        url: "https://gw.example.com:8443/".into(),
        ca_pem: Some("PEM\n".into()),
    }
}

async fn operator(dir: &Path) -> Operator {
    let operator = Operator::open(dir).await.unwrap();
    let agent = CreateToken::Agent {
        cluster: "prod".into(),
        cluster_id: None,
        expires_at: None,
    };
    operator.create_token(&agent).await.unwrap();
    operator
}

async fn run(operator: &Operator, words: &[&str]) -> Result<Output, CliError> {
    let program = Program::try_parse_from(std::iter::once(&"kubeconfig").chain(words)).unwrap();
    program.args.run(operator, &address()).await
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn writes_a_private_file_that_parses_back() {
    let dir = tempfile::tempdir().unwrap();
    let operator = operator(dir.path()).await;
    let file = dir.path().join("a.kubeconfig");
    // A file that anyone can read is replaced by one that only we can.
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let out = file.to_str().unwrap();
    let output = run(
        &operator,
        &[
            "prod",
            "--subject",
            "al@x",
            "--out",
            out,
            "--namespace",
            "n",
        ],
    )
    .await
    .unwrap();
    assert_eq!(output.result.expose_secret(), out);
    assert_eq!(
        output.hints,
        [format!("try: kubectl --kubeconfig '{out}' get namespaces")]
    );
    assert_eq!(mode(&file), 0o600);

    let config: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let token = config["users"][0]["user"]["token"].as_str().unwrap();
    assert_eq!(token::parse(token).unwrap().kind, TokenKind::User);
    let expected = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "pipeops-prod",
        "clusters": [{"name": "pipeops-prod", "cluster": {
            "server": "https://gw.example.com:8443/v1/clusters/prod/tunnel/kubernetes",
            "certificate-authority-data": "UEVNCg=="}}],
        "users": [{"name": "pipeops-prod-al@x", "user": {"token": token}}],
        "contexts": [{"name": "pipeops-prod", "context": {
            "cluster": "pipeops-prod", "user": "pipeops-prod-al@x", "namespace": "n"}}],
    });
    assert_eq!(config, expected);
    let tokens = operator.list_tokens().await.unwrap();
    let made = tokens
        .iter()
        .find(|token| token.subject.as_str() == "al@x")
        .unwrap();
    assert_eq!(made.scopes, ["tunnel:kubernetes".parse().unwrap()]);
    assert!(made.expires_at.is_some());
}

#[tokio::test]
async fn uses_a_token_file_and_standard_output() {
    let dir = tempfile::tempdir().unwrap();
    let operator = operator(dir.path()).await;
    let token = token::format(TokenKind::User, TokenId::from_random([1; 10]), &[2; 32]);
    let file = dir.path().join("token");
    fs::write(&file, format!("{}\n", token.expose_secret())).unwrap();
    let words = ["prod", "--token-file", file.to_str().unwrap(), "--out", "-"];
    let output = run(&operator, &words).await.unwrap();
    assert!(
        output
            .result
            .expose_secret()
            .contains(token.expose_secret())
    );
    assert!(!format!("{output:?}").contains(token.expose_secret()));
    assert_eq!(operator.list_tokens().await.unwrap().len(), 1);

    let agent = token::format(TokenKind::Agent, TokenId::from_random([1; 10]), &[2; 32]);
    fs::write(&file, agent.expose_secret()).unwrap();
    assert!(matches!(
        run(&operator, &words).await,
        Err(CliError::AgentToken { .. })
    ));
    fs::write(&file, "nothing").unwrap();
    assert!(matches!(
        run(&operator, &words).await,
        Err(CliError::TokenFile { .. })
    ));
}

#[tokio::test]
async fn a_token_that_reached_no_file_is_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let operator = operator(dir.path()).await;
    let out = dir.path().join("missing").join("x");
    let error = run(&operator, &["prod", "--out", out.to_str().unwrap()])
        .await
        .unwrap_err();
    assert!(matches!(error, CliError::File { .. }), "{error}");
    let tokens = operator.list_tokens().await.unwrap();
    assert_eq!(
        tokens
            .iter()
            .filter(|token| token.revoked_at.is_some())
            .count(),
        1
    );
    let unknown = run(&operator, &["pord", "--out", "-"]).await.unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "no cluster is named 'pord'; did you mean prod?"
    );
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("directory");
    fs::create_dir(&taken).unwrap();
    assert!(write_private(&taken, "text").is_err());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
