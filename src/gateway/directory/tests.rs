use super::*;
use crate::gateway::store::{Contents, RedbStore};
use jiff::SignedDuration;

fn hour() -> SignedDuration {
    SignedDuration::from_hours(1)
}

fn open(dir: &std::path::Path) -> Arc<Directory> {
    Directory::open(Arc::new(RedbStore::open(dir).unwrap())).unwrap()
}

async fn cluster(directory: &Arc<Directory>, name: &str) -> Arc<ClusterRecord> {
    directory
        .ensure_cluster(name.parse().unwrap(), None)
        .await
        .unwrap()
        .cluster
}

fn user(clusters: ClusterAccess, expires_at: Option<Timestamp>) -> NewToken {
    NewToken::User {
        subject: "alice".parse().unwrap(),
        role: Role::Viewer,
        clusters,
        scopes: vec!["tunnel:kubernetes".parse().unwrap()],
        expires_at,
    }
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let (record, text) = directory
        .create_token(user(ClusterAccess::All, None))
        .await
        .unwrap();
    let now = Timestamp::now();
    let grant = directory.authenticate(text.expose_secret(), now).unwrap();
    assert!(Arc::ptr_eq(
        &grant,
        &directory.authenticate(text.expose_secret(), now).unwrap()
    ));
    assert_eq!(
        (grant.subject.as_str(), grant.role),
        ("alice", Some(Role::Viewer))
    );

    drop(directory);
    let directory = open(dir.path());
    let grant = directory.authenticate(text.expose_secret(), now).unwrap();
    assert!(!grant.ended.is_cancelled());
    let revoked = directory.revoke_token(record.id).await.unwrap();
    assert!(revoked.revoked_at.is_some());
    assert!(grant.ended.is_cancelled());
    assert_eq!(
        directory
            .authenticate(text.expose_secret(), now)
            .unwrap_err(),
        AuthError::Revoked
    );
    assert_eq!(directory.revoke_token(record.id).await.unwrap(), revoked);

    drop(directory);
    assert_eq!(
        open(dir.path())
            .authenticate(text.expose_secret(), now)
            .unwrap_err(),
        AuthError::Revoked
    );
}

#[tokio::test]
async fn expiry_refuses_at_once_and_ends_grants_at_the_sweep() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let now = Timestamp::now();
    let (_, short) = directory
        .create_token(user(ClusterAccess::All, Some(now + hour())))
        .await
        .unwrap();
    let (_, long) = directory
        .create_token(user(ClusterAccess::All, Some(now + hour() * 2)))
        .await
        .unwrap();
    let short_grant = directory.authenticate(short.expose_secret(), now).unwrap();
    let long_grant = directory.authenticate(long.expose_secret(), now).unwrap();
    directory.sweep(now);
    assert!(!short_grant.ended.is_cancelled());

    let at = now + hour();
    assert_eq!(
        directory
            .authenticate(short.expose_secret(), at)
            .unwrap_err(),
        AuthError::Expired { at }
    );
    directory.sweep(at);
    assert!(short_grant.ended.is_cancelled());
    assert!(!long_grant.ended.is_cancelled());
    assert!(matches!(
        directory.authenticate(short.expose_secret(), now),
        Err(AuthError::Expired { .. })
    ));
}

#[tokio::test]
async fn the_sweeper_ends_grants_within_a_second_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let expires_at = Some(Timestamp::now() + SignedDuration::from_millis(300));
    let (_, text) = directory
        .create_token(user(ClusterAccess::All, expires_at))
        .await
        .unwrap();
    let grant = directory
        .authenticate(text.expose_secret(), Timestamp::UNIX_EPOCH)
        .unwrap();
    let stop = CancellationToken::new();
    let sweeper = tokio::spawn({
        let (directory, stop) = (Arc::clone(&directory), stop.clone());
        async move { directory.sweep_until(stop).await }
    });
    grant.ended.cancelled().await;
    stop.cancel();
    sweeper.await.unwrap();
}

#[tokio::test]
async fn wrong_secrets_and_unknown_ids_read_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let (record, text) = directory
        .create_token(user(ClusterAccess::All, None))
        .await
        .unwrap();
    let text = text.expose_secret();
    let now = Timestamp::now();

    let guessed = token::format(TokenKind::User, record.id, &[0; SECRET_BYTES]);
    let wrong = directory
        .authenticate(guessed.expose_secret(), now)
        .unwrap_err();
    assert_eq!(wrong, AuthError::WrongSecret);
    let other = token::format(
        TokenKind::User,
        TokenId::from_random([0; ID_BYTES]),
        &[0; SECRET_BYTES],
    );
    let unknown = directory
        .authenticate(other.expose_secret(), now)
        .unwrap_err();
    assert_eq!(unknown, AuthError::Unknown);
    assert_eq!(wrong.to_string(), unknown.to_string());

    let as_agent = text.replacen("user", "agent", 1);
    assert_eq!(
        directory.authenticate(&as_agent, now).unwrap_err(),
        AuthError::Unknown
    );
    assert!(matches!(
        directory.authenticate("nonsense", now),
        Err(AuthError::Malformed(_))
    ));
}

#[tokio::test]
async fn authorize_checks_kind_cluster_and_scope() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let (mine, other) = (
        cluster(&directory, "mine").await,
        cluster(&directory, "other").await,
    );
    let access = ClusterAccess::List(vec![mine.id.clone()]);
    let (record, text) = directory.create_token(user(access, None)).await.unwrap();
    let grant = directory
        .authenticate(text.expose_secret(), Timestamp::now())
        .unwrap();

    assert_eq!(grant.authorize(&mine, "tunnel:kubernetes"), Ok(()));
    let denied = grant.authorize(&mine, "tunnel:grafana").unwrap_err();
    assert_eq!(
        denied.to_string(),
        format!(
            "token 'alice' (id {}) lacks the scope tunnel:grafana; ask for a token with --scope tunnel:grafana",
            record.id
        )
    );
    assert_eq!(
        grant.authorize(&other, "tunnel:kubernetes"),
        Err(grant.no_such_cluster())
    );
    assert!(!grant.no_such_cluster().to_string().contains("other"));
    assert_eq!(grant.agent_cluster(), None);

    let agent = NewToken::Agent {
        cluster: mine.id.clone(),
        expires_at: None,
    };
    let (_, text) = directory.create_token(agent).await.unwrap();
    let grant = directory
        .authenticate(text.expose_secret(), Timestamp::now())
        .unwrap();
    assert!(matches!(
        grant.authorize(&mine, "tunnel:kubernetes"),
        Err(Denied::Kind { .. })
    ));
    assert_eq!(grant.agent_cluster(), Some(&mine.id));
}

#[tokio::test]
async fn clusters_are_registered_once_and_never_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let id = Some("cls-123abc".parse().unwrap());
    let first = directory
        .ensure_cluster("prod".parse().unwrap(), id.clone())
        .await
        .unwrap();
    assert!(first.created);
    assert!(
        !directory
            .ensure_cluster("prod".parse().unwrap(), None)
            .await
            .unwrap()
            .created
    );
    assert!(
        !directory
            .ensure_cluster("prod".parse().unwrap(), id.clone())
            .await
            .unwrap()
            .created
    );
    for (name, id) in [("prod", Some("cls-else".parse().unwrap())), ("else", id)] {
        let error = directory
            .ensure_cluster(name.parse().unwrap(), id)
            .await
            .unwrap_err();
        assert!(matches!(error, DirectoryError::Conflict { .. }), "{error}");
    }
    let generated = cluster(&directory, "new").await;
    assert_eq!(
        directory
            .cluster_by_id(generated.id.as_str())
            .unwrap()
            .name
            .as_str(),
        "new"
    );
    assert_eq!(
        directory.cluster_by_name("prod").unwrap().id.as_str(),
        "cls-123abc"
    );
    let unknown = directory
        .require_cluster(&"prdo".parse().unwrap())
        .unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "no cluster is named 'prdo'; did you mean prod?"
    );
    drop(directory);
    assert_eq!(open(dir.path()).list_clusters().len(), 2);
}

#[tokio::test]
async fn tokens_for_nothing_and_for_the_past_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let agent = NewToken::Agent {
        cluster: "nope".parse().unwrap(),
        expires_at: None,
    };
    assert!(matches!(
        directory.create_token(agent).await,
        Err(DirectoryError::UnknownClusterId(_))
    ));
    let stale = user(ClusterAccess::List(vec!["nope".parse().unwrap()]), None);
    assert!(matches!(
        directory.create_token(stale).await,
        Err(DirectoryError::UnknownClusterId(_))
    ));
    let past = user(ClusterAccess::All, Some(Timestamp::UNIX_EPOCH));
    assert!(matches!(
        directory.create_token(past).await,
        Err(DirectoryError::AlreadyExpired { .. })
    ));
    let unknown = directory
        .revoke_token(TokenId::from_random([0; ID_BYTES]))
        .await
        .unwrap_err();
    assert!(matches!(unknown, DirectoryError::UnknownToken(_)));
    assert!(directory.list_tokens().is_empty());
}

#[derive(Debug)]
struct FullDisk;

impl Store for FullDisk {
    fn load(&self) -> Result<Contents, StoreError> {
        Ok(Contents::default())
    }
    fn put_cluster(&self, _: &ClusterRecord) -> Result<(), StoreError> {
        Err(StoreError::DiskFull {
            path: "x".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        })
    }
    fn remove_cluster(&self, _: &ClusterId) -> Result<(), StoreError> {
        Ok(())
    }
    fn put_token(&self, _: &TokenRecord) -> Result<(), StoreError> {
        Err(StoreError::DiskFull {
            path: "x".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        })
    }
    fn schema_version(&self) -> Result<u64, StoreError> {
        Ok(1)
    }
}

#[tokio::test]
async fn what_is_not_stored_is_not_shown() {
    let directory = Directory::open(Arc::new(FullDisk)).unwrap();
    assert!(
        directory
            .ensure_cluster("a".parse().unwrap(), None)
            .await
            .is_err()
    );
    assert!(
        directory
            .create_token(user(ClusterAccess::All, None))
            .await
            .is_err()
    );
    assert!(directory.list_clusters().is_empty());
    assert!(directory.list_tokens().is_empty());
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let directory = open(dir.path());
    let (record, text) = directory
        .create_token(user(ClusterAccess::All, None))
        .await
        .unwrap();
    let grant = directory
        .authenticate(text.expose_secret(), Timestamp::now())
        .unwrap();
    let secret = token::parse(text.expose_secret()).unwrap().secret;
    let shown = format!("{directory:?} {record:?} {grant:?} {text:?}");
    assert!(!shown.contains(secret));
    assert!(!shown.contains(&String::from(record.hash)));
}
