//! Tokens are kept while they are good, and leave nothing behind when they are not.

use super::*;
use crate::gateway::store::RedbStore;

struct Trial {
    folder: tempfile::TempDir,
    directory: Arc<Directory>,
}

impl Trial {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(Arc::new(RedbStore::open(folder.path()).unwrap())).unwrap();
        Self { folder, directory }
    }

    async fn tokens(&self) -> (String, String) {
        let identity = Identity::establish(&self.directory, self.folder.path())
            .await
            .unwrap();
        let read = |path: &Path| {
            assert_eq!(
                fs::metadata(path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            fs::read_to_string(path).unwrap()
        };
        (read(&identity.agent_token), read(&identity.user_token))
    }

    fn live(&self) -> usize {
        self.directory
            .list_tokens()
            .iter()
            .filter(|token| token.revoked_at.is_none())
            .count()
    }
}

#[tokio::test]
async fn good_tokens_are_used_again() {
    let trial = Trial::new();
    let first = trial.tokens().await;
    assert_eq!(trial.tokens().await, first);
    assert_eq!(trial.directory.list_tokens().len(), 2);
}

#[tokio::test]
async fn a_lost_or_revoked_token_is_renewed_and_the_old_one_ends() {
    let trial = Trial::new();
    let (agent, user) = trial.tokens().await;
    let (agent_file, user_file) = (
        trial.folder.path().join("agent.token"),
        trial.folder.path().join("user.token"),
    );
    fs::remove_file(&user_file).unwrap();
    fs::write(&agent_file, "nonsense \u{fffd}").unwrap();
    fs::set_permissions(&agent_file, Permissions::from_mode(0o644)).unwrap();
    let (new_agent, new_user) = trial.tokens().await;
    assert!(new_agent != agent && new_user != user);
    assert_eq!(trial.live(), 2);
    for old in [agent, user] {
        assert!(
            trial
                .directory
                .authenticate(&old, Timestamp::now())
                .is_err()
        );
    }
    let id = crate::wire::token::parse(&new_user).unwrap().id;
    trial.directory.revoke_token(id).await.unwrap();
    let (kept, renewed) = trial.tokens().await;
    assert!(kept == new_agent && renewed != new_user);
    assert_eq!(trial.live(), 2);
}

#[tokio::test]
async fn one_token_does_not_stand_for_the_other() {
    let trial = Trial::new();
    let (agent, user) = trial.tokens().await;
    fs::write(trial.folder.path().join("agent.token"), &user).unwrap();
    let (renewed, kept) = trial.tokens().await;
    assert!(renewed != agent && renewed != user && kept == user);
}

#[tokio::test]
async fn a_token_that_others_could_read_is_made_private() {
    let trial = Trial::new();
    let first = trial.tokens().await;
    for name in ["agent.token", "user.token"] {
        fs::set_permissions(
            trial.folder.path().join(name),
            Permissions::from_mode(0o644),
        )
        .unwrap();
    }
    assert_eq!(trial.tokens().await, first);
}
