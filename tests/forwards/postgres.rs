//! A real PostgreSQL behind the tunnel, and its own clients in front.

use crate::{
    command::Forward,
    common::{eventually, free_port, process::Process, sum::Seeded, temp_dir},
    fixture::Tunnel,
    setup::demo,
};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A server of its own, with an empty database, that trusts whoever connects.
#[derive(Debug)]
struct Postgres {
    process: Process,
    addr: SocketAddr,
}

/// The newest of Debian's versions.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("Debian's package postgresql");
    let mut found: Vec<_> = versions
        .map(|version| version.unwrap().path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().expect("initdb")
}

/// A command that is not root's: PostgreSQL refuses that.
fn unprivileged(program: &Path) -> Command {
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout != b"0\n" {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program);
    command
}

fn succeed(command: &mut Command) -> String {
    let out = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {stderr}");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

impl Postgres {
    fn start() -> Self {
        let bin = programs();
        let dir = temp_dir("postgres");
        // Its parents too must let the other user in.
        for dir in dir.ancestors().take(2) {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let data = dir.join("data");
        succeed(
            unprivileged(&bin.join("initdb"))
                .args([
                    "--auth=trust",
                    "--username=test",
                    "--no-sync",
                    "--encoding=UTF8",
                    "--locale=C",
                    "-D",
                ])
                .arg(&data)
                .current_dir(&dir),
        );
        let port = free_port();
        let mut server = unprivileged(&bin.join("postgres"));
        server
            .arg("-D")
            .arg(&data)
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"])
            .arg(&dir)
            .args(["-c", "fsync=off", "-c", "max_connections=60"])
            .current_dir(&dir);
        let process = Process::spawn("postgres", &mut server);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let postgres = Self { process, addr };
        eventually("PostgreSQL", Duration::from_secs(60), || {
            let out = client("psql", addr)
                .args(["-c", "select 1"])
                .output()
                .unwrap();
            let why = String::from_utf8_lossy(&out.stderr).into_owned();
            out.status.success().then_some(()).ok_or(why)
        });
        postgres
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The postmaster takes its children along, which SIGKILL would leave behind.
        self.process.signal("INT");
        self.process.wait_exit(Duration::from_secs(60));
    }
}

/// One of PostgreSQL's clients, at this address.
fn client(name: &str, addr: SocketAddr) -> Command {
    let mut command = Command::new(programs().join(name));
    command
        .env("PGHOST", addr.ip().to_string())
        .env("PGPORT", addr.port().to_string())
        .env("PGUSER", "test")
        .env("PGDATABASE", "postgres")
        .env("PGCONNECT_TIMEOUT", "20")
        .env("PGSSLMODE", "disable");
    command
}

fn psql(addr: SocketAddr, commands: &[&str]) -> String {
    let mut psql = client("psql", addr);
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
    for command in commands {
        psql.args(["-c", command]);
    }
    succeed(&mut psql)
}

/// Rows of a number and 2,000 characters, as COPY has them: 40 MiB.
fn rows() -> String {
    let bytes = Seeded::bytes(9, 1_000);
    let line: String = bytes.iter().fold(String::new(), |mut line, byte| {
        write!(line, "{byte:02x}").unwrap();
        line
    });
    (0..20_000).fold(String::new(), |mut all, n| {
        writeln!(all, "{n}\t{n:08x}{}", &line[8..]).unwrap();
        all
    })
}

fn sum(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
}

fn tunnel() -> (Postgres, Tunnel, Forward) {
    let postgres = Postgres::start();
    let tunnel = Tunnel::with(&[demo("tcp", postgres.addr)]);
    let forward = Forward::start(&tunnel, &[]);
    (postgres, tunnel, forward)
}

#[test]
fn tables_pass_both_ways_whole() {
    let (_postgres, _tunnel, forward) = tunnel();
    let dir = temp_dir("copy");
    let (there, back) = (dir.join("there"), dir.join("back"));
    let rows = rows();
    assert!(rows.len() > 40_000_000);
    fs::write(&there, &rows).unwrap();
    let copy = |what: &str, file: &Path| format!("\\copy {what} '{}'", file.display());
    psql(
        forward.addr,
        &[
            "create table t(n int primary key, line text)",
            &copy("t from", &there),
        ],
    );
    // As the server sees it, without our reading it back.
    let server = "select count(*), sum(length(line)), md5(string_agg(line, '' order by n)) from t";
    let lines: String = rows
        .lines()
        .map(|row| row.split('\t').nth(1).unwrap())
        .collect();
    let told = psql(forward.addr, &[server]);
    assert!(
        told.starts_with(&format!("20000|{}|", lines.len())),
        "{told}"
    );
    let direct = psql(_postgres.addr, &[server]);
    assert_eq!(told, direct);
    psql(
        forward.addr,
        &[&copy("(select * from t order by n) to", &back)],
    );
    assert_eq!(sum(&fs::read(&back).unwrap()), sum(rows.as_bytes()));
}

#[test]
fn pgbench_runs_with_many_clients() {
    let (_postgres, tunnel, forward) = tunnel();
    succeed(client("pgbench", forward.addr).args(["-i", "-q", "-s", "2"]));
    let said = succeed(client("pgbench", forward.addr).args(["-c", "16", "-j", "2", "-t", "50"]));
    assert!(
        said.contains("number of transactions actually processed: 800/800"),
        "{said}"
    );
    assert!(said.contains("number of failed transactions: 0"), "{said}");
    let history = psql(forward.addr, &["select count(*) from pgbench_history"]);
    assert_eq!(history, "800");
    // A new connection for each transaction.
    let said = succeed(
        client("pgbench", forward.addr).args(["-S", "-C", "-c", "4", "-j", "2", "-t", "25"]),
    );
    assert!(said.contains("100/100"), "{said}");
    assert!(!tunnel.gateway.process.output().contains("panicked"));
}

#[test]
fn a_server_that_is_killed_is_told_by_its_clients() {
    let (postgres, _tunnel, forward) = tunnel();
    let mut waits = client("psql", forward.addr);
    waits.args(["-X", "-c", "select pg_sleep(600)"]);
    let mut waiting = Process::spawn("psql", &mut waits);
    eventually("the query", Duration::from_secs(60), || {
        let asks = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'";
        match psql(postgres.addr, &[asks]).as_str() {
            "1" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    drop(postgres);
    let status = waiting.wait_exit(Duration::from_secs(60));
    assert_eq!(status.code(), Some(2), "{}", waiting.output());
    let out = client("psql", forward.addr)
        .args(["-c", "select 1"])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
}
