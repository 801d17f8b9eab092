//! Against hashicorp/yamux, which runs as a program of its own (`tests/mux/go`) behind a unix socket.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;

use bytes::Bytes;
use fastrand::Rng;
use futures_util::future::join;
use pipeops_tunnel::mux::{OpenError, RecvHalf, Role, SendHalf, Session};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;

use crate::raw::WINDOW;
use crate::rig::{Running, echo, local, read_to_end, recv, send, session, until};
use crate::sliced::Sliced;

/// The program, built once; `None` where that is not wanted.
fn program() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let build = || {
        if std::env::var_os("PIPEOPS_TEST_SKIP_GO").is_some() {
            eprintln!("PIPEOPS_TEST_SKIP_GO is set: nothing is tested here");
            return None;
        }
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("muxpeer");
        let status = Command::new("go")
            .args(["build", "-trimpath", "-buildvcs=false", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mux/go"))
            .env("CGO_ENABLED", "0")
            .status()
            .expect("install Go 1.24 or newer, or set PIPEOPS_TEST_SKIP_GO=1");
        assert!(status.success(), "go build failed");
        Some(program)
    };
    BUILT.get_or_init(build).as_deref()
}

/// A running peer and our session with it.
struct Go {
    child: Child,
    session: Session,
    running: Running,
    _folder: tempfile::TempDir,
}

impl Drop for Go {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Go {
    async fn new(program: &Path, ours: Role, arguments: &[&str], rng: Option<&mut Rng>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("mux");
        let listener = UnixListener::bind(&socket).unwrap();
        let role = if ours == Role::Client {
            "server"
        } else {
            "client"
        };
        let child = Command::new(program)
            .arg("-socket")
            .arg(&socket)
            .args(["-role", role])
            .args(arguments)
            .spawn()
            .unwrap();
        let (io, _) = listener.accept().await.unwrap();
        let serve = |stream| drop(spawn_local(echo(stream)));
        let (session, running) = match rng {
            Some(rng) => session(Sliced::new(io, rng), ours, serve),
            None => session::<UnixStream>(io, ours, serve),
        };
        Self {
            child,
            session,
            running,
            _folder: folder,
        }
    }

    /// A stream on which the peer does `operation`.
    async fn ask(&self, operation: &[u8]) -> (SendHalf, RecvHalf) {
        let (mut out, inward) = self.session.open().await.unwrap().split();
        send(&mut out, operation.to_vec()).await.unwrap();
        (out, inward)
    }

    /// The whole answer to `operation`.
    async fn answer(&self, operation: &[u8]) -> Vec<u8> {
        let (mut out, mut inward) = self.ask(operation).await;
        out.finish();
        read_to_end(&mut inward).await
    }

    async fn end(mut self) {
        until(|| (self.session.live_streams() == 0).then_some(())).await;
        self.session.close();
        (&mut self.running).await.unwrap().unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// Runs `test` with each role.
fn both_roles<F: Future<Output = ()>>(test: impl Fn(&'static Path, Role) -> F) {
    for role in [Role::Client, Role::Server] {
        if let Some(program) = program() {
            eprintln!("we are {role:?}");
            local(test(program, role));
        }
    }
}

fn random(length: usize, rng: &mut Rng) -> Bytes {
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes.into()
}

async fn echoes(go: &Go, bytes: Bytes) {
    let (mut out, mut inward) = go.ask(b"e").await;
    let writer = async {
        send(&mut out, bytes.clone()).await.unwrap();
        out.finish();
    };
    let ((), back) = join(writer, read_to_end(&mut inward)).await;
    assert!(back == bytes, "{} bytes became {}", bytes.len(), back.len());
}

async fn sinks(go: &Go, bytes: Bytes) {
    let (mut out, mut inward) = go.ask(b"k").await;
    send(&mut out, bytes.clone()).await.unwrap();
    out.finish();
    let mut right = crc32fast::hash(&bytes).to_be_bytes().to_vec();
    right.extend((bytes.len() as u64).to_be_bytes());
    assert_eq!(read_to_end(&mut inward).await, right);
}

async fn sources(go: &Go, length: u64) {
    let mut operation = b"s".to_vec();
    operation.extend(length.to_be_bytes());
    let got = go.answer(&operation).await;
    assert_eq!(got.len() as u64, length + 4);
    let (bytes, sum) = got.split_at(length as usize);
    assert_eq!(crc32fast::hash(bytes).to_be_bytes(), sum);
}

/// Echo, source and sink at once on many streams, over a carrier that is cut at random.
#[test]
fn random_schedules() {
    both_roles(|program, role| async move {
        for seed in (0..4).chain([fastrand::u64(..)]) {
            eprintln!("seed {seed}");
            let mut rng = Rng::with_seed(seed);
            let go = Go::new(program, role, &[], Some(&mut rng)).await;
            let mut all = Vec::new();
            for _ in 0..15 {
                let most = *rng.choice([100, 20_000, 300_000].iter()).unwrap();
                let bytes = random(rng.usize(0..most), &mut rng);
                let go = &go;
                let which = rng.u8(0..3);
                all.push(async move {
                    match which {
                        0 => echoes(go, bytes).await,
                        1 => sinks(go, bytes).await,
                        _ => sources(go, bytes.len() as u64).await,
                    }
                });
            }
            futures_util::future::join_all(all).await;
            go.end().await;
        }
    });
}

#[test]
fn the_peer_opens_many_streams() {
    both_roles(|program, role| async move {
        let go = Go::new(program, role, &[], None).await;
        let mut operation = b"o".to_vec();
        operation.extend(200u32.to_be_bytes());
        operation.extend(300_000u32.to_be_bytes());
        assert_eq!(go.answer(&operation).await, 200u32.to_be_bytes());
        go.end().await;
    });
}

#[test]
fn large_windows_both_ways() {
    both_roles(|program, role| async move {
        let go = Go::new(program, role, &["-window", "16777216"], None).await;
        sources(&go, 40_000_000).await;
        sinks(&go, random(40_000_000, &mut Rng::with_seed(3))).await;
        go.end().await;
    });
}

#[test]
fn a_half_closed_stream_still_gives() {
    both_roles(|program, role| async move {
        let go = Go::new(program, role, &[], None).await;
        // `answer` finishes before the first byte comes back.
        sources(&go, 5_000_000).await;
        go.end().await;
    });
}

#[test]
fn our_reset_is_one_there() {
    both_roles(|program, role| async move {
        let go = Go::new(program, role, &[], None).await;
        let (mut out, mut inward) = go.ask(b"r").await;
        // A reset takes away there what is not read yet, the operation too.
        assert_eq!(recv(&mut inward).await.unwrap().unwrap(), &[1][..]);
        send(&mut out, vec![1; 100_000]).await.unwrap();
        drop((out, inward));
        assert_eq!(go.answer(b"q").await, b"connection reset");
        go.end().await;
    });
}

#[test]
fn a_reset_from_there_is_one_here() {
    both_roles(|program, role| async move {
        let go = Go::new(program, role, &["-close-timeout", "100ms"], None).await;
        let (mut out, mut inward) = go.ask(b"c").await;
        assert!(matches!(recv(&mut inward).await, Ok(None)));
        while !out.is_closed() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        send(&mut out, vec![0; WINDOW as usize]).await.unwrap_err();
        drop((out, inward));
        go.end().await;
    });
}

#[test]
fn pings_are_answered() {
    both_roles(|program, role| async move {
        let go = Go::new(program, role, &[], None).await;
        for _ in 0..20 {
            assert_eq!(go.answer(b"p").await, [1]);
        }
        go.end().await;
    });
}

/// The peer says that it goes: nothing new is opened.
#[test]
fn no_stream_is_opened_once_the_peer_goes_away() {
    both_roles(|program, role| async move {
        let go = Go::new(program, role, &[], None).await;
        let (_out, mut inward) = go.ask(b"g").await;
        drop(recv(&mut inward).await);
        until(|| go.session.is_closed().then_some(())).await;
        assert_eq!(go.session.open().await.unwrap_err(), OpenError::Closed);
    });
}
