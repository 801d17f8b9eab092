use super::*;
use crate::gateway::admin_socket::{AdminSocket, AdminSocketError, FILE_NAME};
use crate::gateway::api;
use crate::gateway::api::tokens::TokenStatus;
use crate::gateway::store::{AuditRecord, History, Store, verify};
use crate::http::error::body;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tokio_util::sync::CancellationToken;

fn agent(cluster: &str) -> CreateToken {
    CreateToken::Agent {
        cluster: cluster.into(),
        cluster_id: None,
        expires_at: None,
    }
}

fn user(cluster: &str) -> CreateToken {
    CreateToken::User {
        subject: "alice".into(),
        role: crate::wire::token::Role::Viewer,
        clusters: vec![cluster.into()],
        all_clusters: false,
        scopes: vec![],
        expires_at: None,
    }
}

struct Gateway {
    directory: Arc<Directory>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn gateway(dir: &Path) -> Gateway {
    let store = Arc::new(RedbStore::open(dir).unwrap());
    let directory = Directory::open(Arc::clone(&store) as Arc<dyn Store>).unwrap();
    let stop = CancellationToken::new();
    let socket = AdminSocket::bind(dir).unwrap();
    let task = tokio::spawn(socket.serve(api::router(Arc::clone(&directory), store), stop.clone()));
    Gateway {
        directory,
        stop,
        task,
    }
}

async fn works(operator: &Operator) {
    let made = operator.create_token(&agent("prod")).await.unwrap();
    assert!(made.cluster_created);
    assert!(
        !operator
            .create_token(&agent("prod"))
            .await
            .unwrap()
            .cluster_created
    );
    let alice = operator.create_token(&user("prod")).await.unwrap();
    assert_eq!(alice.summary.scopes.len(), 1);

    let error = operator.create_token(&user("prdo")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no cluster is named 'prdo'; did you mean prod?"
    );
    let OperatorError::Refused(error) = operator.create_token(&agent("Prod")).await.unwrap_err()
    else {
        panic!()
    };
    assert_eq!(
        serde_json::from_slice::<Value>(&body(&error, false)).unwrap(),
        serde_json::json!({"error": {"code": "INVALID_REQUEST", "message": "Invalid cluster name",
            "details": {"field": "cluster_name", "reason": "must match pattern ^[a-z0-9-]+$"}}})
    );

    let revoked = operator.revoke_token(alice.summary.id).await.unwrap();
    assert_eq!(revoked.status, TokenStatus::Revoked);
    let listed = operator.list_tokens().await.unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(operator.list_clusters().await.unwrap().len(), 1);

    let shown = format!(
        "{listed:?} {made:?} {}",
        serde_json::to_string(&listed).unwrap()
    );
    let secret = crate::wire::token::parse(made.token.expose_secret())
        .unwrap()
        .secret;
    assert!(
        !shown.contains(secret) && !shown.contains("hash"),
        "{shown}"
    );
}

#[tokio::test]
async fn works_without_a_gateway() {
    let dir = tempfile::tempdir().unwrap();
    let operator = Operator::open(dir.path()).await.unwrap();
    assert!(matches!(operator, Operator::Direct(_)));
    works(&operator).await;
}

#[tokio::test]
async fn works_through_a_gateway_which_sees_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(dir.path());
    let mode = fs::metadata(dir.path().join(FILE_NAME))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let operator = Operator::open(dir.path()).await.unwrap();
    assert!(matches!(operator, Operator::Gateway(_)));
    works(&operator).await;

    let made = operator.create_token(&user("prod")).await.unwrap();
    let grant = gateway
        .directory
        .authenticate(made.token.expose_secret(), Timestamp::now())
        .unwrap();
    operator.revoke_token(made.summary.id).await.unwrap();
    assert!(grant.ended.is_cancelled());

    gateway.stop.cancel();
    gateway.task.await.unwrap();
    assert!(!dir.path().join(FILE_NAME).exists());
}

#[tokio::test]
async fn lists_page_by_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let operator = Operator::open(dir.path()).await.unwrap();
    for _ in 0..5 {
        operator.create_token(&agent("prod")).await.unwrap();
    }
    let Operator::Direct(directory) = &operator else {
        panic!()
    };
    let mut query = TokenQuery {
        limit: Some(2),
        cursor: None,
    };
    let mut sizes = vec![];
    loop {
        let page = tokens::list(directory, &query);
        sizes.push(page.items.len());
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[tokio::test]
async fn one_gateway_at_a_time_and_stale_sockets_are_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let first = AdminSocket::bind(dir.path()).unwrap();
    assert!(matches!(
        AdminSocket::bind(dir.path()),
        Err(AdminSocketError::InUse { .. })
    ));
    drop(first);
    assert!(!path.exists());
    fs::write(&path, "").unwrap();
    assert!(matches!(
        AdminSocket::bind(dir.path()),
        Err(AdminSocketError::NotASocket { .. })
    ));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

async fn raw(dir: &Path, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = UnixStream::connect(dir.join(FILE_NAME)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn every_error_has_the_contracts_form() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = gateway(dir.path());
    let post = |body: &str| {
        let head = "POST /v1/tokens HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    };
    let cases = [
        ("GET /nope HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), "404"),
        (
            "PUT /v1/tokens HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n".to_owned(),
            "405",
        ),
        (
            "GET /v1/tokens?cursor=x HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "DELETE /v1/tokens/x HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "DELETE /v1/tokens/aaaaaaaaaaaaaaaa HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
            "404",
        ),
        (post("{"), "400"),
        (post(r#"{"kind":"agent","cluster":"a","extra":1}"#), "400"),
        // A user's token without a word about its end is a mistake.
        (
            post(r#"{"kind":"user","subject":"a","role":"viewer","all_clusters":true}"#),
            "400",
        ),
        (
            post(r#"{"kind":"user","subject":"a","role":"viewer","expires_at":null}"#),
            "400",
        ),
        (post(&" ".repeat(api::MAX_BODY_BYTES + 1)), "413"),
    ];
    for (request, status) in cases {
        let answer = raw(dir.path(), &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let error = parse(body.as_bytes()).unwrap();
        assert!(!error.message.is_empty());
    }
    gateway.stop.cancel();
}

/// Entries of 100 KiB in the audit log, and perhaps one at its end that is not JSON.
fn store_with(entries: usize, damaged: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(dir.path()).unwrap();
    let entry: AuditRecord = serde_json::from_value(serde_json::json!({
        "at": Timestamp::UNIX_EPOCH, "peer": "", "request_id": "", "action": "x".repeat(100 << 10), "target": "",
        "outcome": "allowed", "status": 200,
    }))
    .unwrap();
    store.append_audit(&vec![entry; entries]).unwrap();
    drop(store);
    if damaged {
        let db = redb::Database::open(dir.path().join(RedbStore::FILE_NAME)).unwrap();
        let txn = db.begin_write().unwrap();
        let log = redb::TableDefinition::<u64, &[u8]>::new("audit");
        let mut log = txn.open_table(log).unwrap();
        log.insert(1_000_000, b"{".as_slice()).unwrap();
        drop(log);
        txn.commit().unwrap();
    }
    dir
}

async fn download(dir: &Path) -> Result<Vec<u8>, OperatorError> {
    let client = AdminClient::find(dir).await.unwrap().unwrap();
    let mut got = Vec::new();
    let put = |piece: &[u8]| {
        got.extend_from_slice(piece);
        Ok(())
    };
    let done = client
        .download::<OperatorError>("/v1/store/backup", put)
        .await;
    done.map(|()| got)
}

#[tokio::test]
async fn a_backup_larger_than_all_buffers_arrives_whole() {
    let dir = store_with(100, false);
    let gateway = gateway(dir.path());
    let got = download(dir.path()).await.unwrap();
    assert!(got.len() > 10_000_000);
    assert_eq!(verify(got.as_slice()).unwrap().audit, 100);
    gateway.stop.cancel();
    gateway.task.await.unwrap();
}

#[tokio::test]
async fn a_backup_that_fails_on_its_way_is_no_success() {
    let dir = store_with(100, true);
    let late = gateway(dir.path());
    let error = download(dir.path()).await.unwrap_err();
    assert!(matches!(error, OperatorError::Broken { .. }), "{error}");
    late.stop.cancel();
    late.task.await.unwrap();

    let dir = store_with(0, true);
    let early = gateway(dir.path());
    let error = download(dir.path()).await.unwrap_err().to_string();
    assert!(error.contains("is damaged (record '1000000'"), "{error}");
    early.stop.cancel();
    early.task.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_its_backup() {
    let dir = store_with(100, false);
    let gateway = gateway(dir.path());
    let client = AdminClient::find(dir.path()).await.unwrap().unwrap();
    let enough = |_: &[u8]| Err(OperatorError::Deadline { path: "x".into() });
    assert!(client.download("/v1/store/backup", enough).await.is_err());
    // Nothing is stuck behind it.
    assert_eq!(download(dir.path()).await.unwrap().last(), Some(&b'\n'));
    gateway.stop.cancel();
    gateway.task.await.unwrap();
}
