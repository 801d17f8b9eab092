//! `store backup`, `store restore`, `store check` as an operator runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use pipeops_tunnel::gateway::store::{RedbStore, verify};

use crate::common::gateway::Gateway;
use crate::common::temp_dir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_pipeops-gateway");

fn run(state: &Path, args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(args)
        .arg("--state-dir")
        .arg(state)
        .output()
        .unwrap()
}

fn good(state: &Path, args: &[&str]) -> String {
    let out = run(state, args);
    assert!(
        out.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

fn bad(state: &Path, args: &[&str], code: i32) -> String {
    let out = run(state, args);
    assert_eq!(
        out.status.code(),
        Some(code),
        "{args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(out.stdout.is_empty());
    String::from_utf8(out.stderr).unwrap()
}

#[test]
fn a_gateway_is_backed_up_while_it_runs_and_restored_elsewhere() {
    let gateway = Gateway::start();
    let agent = gateway.agent_token("production", "cls-1");
    for number in 0..30 {
        gateway.user_token(
            &format!("user-{number}"),
            "viewer",
            "production",
            "tunnel:*",
        );
    }
    let dir = temp_dir("backups");
    let file = dir.join("gateway.backup");
    let said = gateway.cli(&["store", "backup", file.to_str().unwrap()]);
    assert!(said.contains("backed up 1 clusters, 31 tokens"), "{said}");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let text = fs::read_to_string(&file).unwrap();
    let secret = agent.rsplit('_').next().unwrap();
    assert!(!text.contains(secret));
    let streamed = gateway.command(&["store", "backup", "-"]);
    assert!(streamed.status.success() && streamed.stderr.is_empty());
    assert_eq!(verify(streamed.stdout.as_slice()).unwrap().tokens, 31);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);

    for command in [
        &["store", "check"][..],
        &["store", "restore", file.to_str().unwrap()],
    ] {
        let out = gateway.command(command);
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(1), "{told}");
        assert!(told.contains("runs: stop it first"), "{told}");
    }

    let state = temp_dir("restored").join("state");
    let said = good(&state, &["store", "restore", file.to_str().unwrap()]);
    assert!(said.contains("restored 1 clusters, 31 tokens"), "{said}");
    let said = good(&state, &["store", "check"]);
    assert!(
        said.contains("is sound: schema version 2, 1 clusters, 31 tokens"),
        "{said}"
    );
    let listed = good(&state, &["token", "list"]);
    assert!(listed.contains("user-29"), "{listed}");
}

#[test]
fn without_a_gateway_the_file_itself_is_used() {
    let state = temp_dir("state");
    let told = bad(&state, &["store", "check"], 1);
    assert!(told.contains("there is no store at"), "{told}");
    assert!(bad(&state, &["store", "backup", "-"], 1).contains("there is no store at"));
    assert_eq!(fs::read_dir(&state).unwrap().count(), 0);
    bad(&state, &["store"], 2);

    good(&state, &["token", "create", "agent", "--cluster", "one"]);
    let file = temp_dir("backups").join("b");
    let file = file.to_str().unwrap();
    assert!(good(&state, &["store", "backup", file]).contains("1 clusters, 1 tokens"));
    good(&state, &["token", "create", "agent", "--cluster", "two"]);
    let told = bad(&state, &["store", "restore", file], 1);
    assert!(told.contains("is not empty: with --force"), "{told}");
    let out = run(&state, &["store", "restore", file, "--force"]);
    let hint = String::from_utf8(out.stderr).unwrap();
    assert!(
        out.status.success() && hint.contains("gateway.redb.before-restore-2"),
        "{hint}"
    );
    assert!(!good(&state, &["token", "list"]).contains("two"));

    // A file that is there stays until the new one is whole.
    let missing = temp_dir("none");
    bad(&missing, &["store", "backup", file], 1);
    assert!(verify(fs::read(file).unwrap().as_slice()).is_ok());
    let whole = fs::read(file).unwrap();
    fs::write(file, &whole[..whole.len() / 2]).unwrap();
    let told = bad(&state, &["store", "restore", file, "--force"], 1);
    assert!(
        told.contains("was not restored") && told.contains("ends after line"),
        "{told}"
    );

    let store = state.join(RedbStore::FILE_NAME);
    let mut bytes = fs::read(&store).unwrap();
    let middle = bytes.len() / 2;
    bytes[600..middle].fill(0xa5);
    fs::write(&store, bytes).unwrap();
    let told = bad(&state, &["store", "check"], 1);
    assert!(
        told.contains("is damaged") && told.contains("restore a backup"),
        "{told}"
    );
}
