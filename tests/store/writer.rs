//! A process that changes a store and says what is done, until it is killed: this test binary itself, run again.

use std::env;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use pipeops_tunnel::gateway::store::{
    Added, AuditOutcome, AuditRecord, ClusterAccess, ClusterRecord, DeploymentId, DeploymentRecord,
    DeploymentState, History, RedbStore, RequestedBy, SecretHash, Store, TokenRecord,
};
use pipeops_tunnel::wire::token::{Role, TokenId, TokenKind};

const DIR: &str = "PIPEOPS_STORE_WRITER_DIR";
const FROM: &str = "PIPEOPS_STORE_WRITER_FROM";

/// The writer on this directory, which numbers what it does from `from` on.
pub fn command(dir: &Path, from: u64) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "writer::the_writer",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIR, dir)
        .env(FROM, from.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    command
}

/// Not a test by itself: without the variables it does nothing.
#[test]
fn the_writer() {
    let Some(dir) = env::var_os(DIR) else { return };
    let from = env::var(FROM).unwrap().parse().unwrap();
    let store = RedbStore::open(Path::new(&dir)).unwrap();
    say("open", 0);
    // Bounded, should nobody kill it.
    for number in from..from + 2_000 {
        step(&store, number);
    }
}

fn say(what: &str, number: u64) {
    let line = format!("@ {what} {number}\n");
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes()).unwrap();
    out.flush().unwrap();
}

pub fn cluster_id(number: u64) -> String {
    format!("cls-{}", number % 7)
}

fn step(store: &RedbStore, number: u64) {
    let cluster = cluster(&cluster_id(number));
    store.put_cluster(&cluster).unwrap();
    say("cluster", number);
    store.put_token(&token(number)).unwrap();
    say("token", number);
    let mut record = deployment(number);
    let manifest = manifest(number);
    assert_eq!(
        store.add_deployment(&record, &manifest).unwrap(),
        Added::New
    );
    say("deployment", number);
    record.advance(DeploymentState::Succeeded, "done", Timestamp::now());
    assert!(store.put_deployment(&record).unwrap());
    say("finished", number);
    store.append_audit(&[audit(number), audit(number)]).unwrap();
    say("audit", number);
    if number % 97 == 96 {
        say("removing", number);
        store.remove_cluster(&cluster.id).unwrap();
        say("removed", number);
    }
}

fn cluster(id: &str) -> ClusterRecord {
    let name = format!("name-{id}").parse().unwrap();
    ClusterRecord::new(id.parse().unwrap(), name, Timestamp::UNIX_EPOCH)
}

fn bytes<const N: usize>(number: u64) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

pub fn token(number: u64) -> TokenRecord {
    TokenRecord {
        id: TokenId::from_random(bytes(number)),
        kind: TokenKind::User,
        hash: SecretHash::of(&number.to_string()),
        subject: "alice".parse().unwrap(),
        role: Some(Role::Viewer),
        clusters: ClusterAccess::All,
        scopes: vec![],
        created_at: Timestamp::UNIX_EPOCH,
        expires_at: None,
        revoked_at: None,
    }
}

/// Of very different lengths, so that pages split and merge.
pub fn manifest(number: u64) -> String {
    let length = usize::try_from(number * 7919 % 40_000).unwrap();
    format!("# {number}\n{}", "x".repeat(length))
}

pub fn deployment_id(number: u64) -> DeploymentId {
    let at = Timestamp::from_millisecond(1_764_000_000_000 + i64::try_from(number).unwrap());
    DeploymentId::from_random(at.unwrap(), bytes(number))
}

fn deployment(number: u64) -> DeploymentRecord {
    let id = deployment_id(number);
    let mut record = DeploymentRecord {
        id,
        cluster: cluster_id(number).parse().unwrap(),
        project_id: number.to_string(),
        namespace: "default".into(),
        dry_run: false,
        timeout_ms: None,
        expires_at: None,
        requested_by: RequestedBy {
            subject: "alice".parse().unwrap(),
            token_id: token(number).id,
            role: Role::Editor,
        },
        idempotency: None,
        instance: None,
        state: DeploymentState::Pending,
        message: String::new(),
        error: None,
        objects: vec![],
        created_at: id.created_at(),
        updated_at: id.created_at(),
        finished_at: None,
        history: vec![],
    };
    record.advance(DeploymentState::Pending, "", id.created_at());
    record
}

fn audit(number: u64) -> AuditRecord {
    AuditRecord {
        sequence: 0,
        at: Timestamp::UNIX_EPOCH,
        subject: None,
        token_id: None,
        peer: "test".into(),
        request_id: number.to_string(),
        action: "deployment.create".into(),
        cluster: None,
        target: String::new(),
        outcome: AuditOutcome::Allowed,
        status: 200,
        details: serde_json::Map::new(),
    }
}
