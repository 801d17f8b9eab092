//! `proto/vectors/mux/*.json` against a session: what each frame, valid or not, makes it do.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::rc::Rc;

use pipeops_tunnel::mux::{RecvHalf, Role, SendHalf, Session};
use serde::Deserialize;
use tokio::task::spawn_local;

use crate::raw::{ACK, DATA, Frame, GO_AWAY, PING, Peer, SYN, WINDOW_UPDATE};
use crate::rig::{Running, paused, recv, send, session};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    about: String,
    cases: Vec<Case>,
}

/// See `proto/mux.md`, "Vectors".
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(rename = "meaning")]
    _meaning: String,
    #[serde(default)]
    receiver: Receiver,
    #[serde(default)]
    before: String,
    bytes: String,
    #[serde(default)]
    zeros: usize,
    #[serde(default)]
    replies: Vec<String>,
    #[serde(default)]
    opens: usize,
    #[serde(default)]
    delivers: String,
    #[serde(default)]
    ends: Option<Ends>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Receiver {
    /// It has opened nothing.
    #[default]
    Server,
    /// It has opened stream 1 and sent `x` on it.
    Client,
}

#[derive(Debug, Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Ends {
    /// With GO_AWAY, protocol error.
    ProtocolError,
    /// Because the peer says so.
    GoneAway,
}

fn unhex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// What a frame says about the receiver's own affairs, and no vector is about.
fn is_housekeeping(frame: &Frame) -> bool {
    frame.is(PING, SYN)
        || (frame.kind == WINDOW_UPDATE && frame.flags & !(SYN | ACK) == 0)
        || (frame.kind == DATA && frame.payload == b"x")
}

fn told(frame: &Frame) -> Vec<u8> {
    let mut bytes = crate::raw::header(frame.kind, frame.flags, frame.id, frame.length);
    bytes.extend(&frame.payload);
    bytes
}

/// What the application of the receiver saw.
#[derive(Default)]
struct Seen {
    streams: usize,
    bytes: Vec<u8>,
}

async fn watch(mut inward: RecvHalf, seen: Rc<RefCell<Seen>>) {
    while let Ok(Some(bytes)) = recv(&mut inward).await {
        seen.borrow_mut().bytes.extend(&bytes);
    }
    // Held, so that the stream is not reset.
    std::future::pending::<()>().await;
}

/// The receiver of a vector, as the case wants it.
struct Rig {
    peer: Peer,
    session: Session,
    running: Running,
    seen: Rc<RefCell<Seen>>,
    _own: Option<SendHalf>,
}

impl Rig {
    async fn new(case: &Case) -> Self {
        let role = match case.receiver {
            Receiver::Server => Role::Server,
            Receiver::Client => Role::Client,
        };
        let (mut peer, carrier) = Peer::new();
        let seen = Rc::new(RefCell::new(Seen::default()));
        let watched = Rc::clone(&seen);
        let (session, running) = session(carrier, role, move |stream| {
            let (out, inward) = stream.split();
            watched.borrow_mut().streams += 1;
            let watched = Rc::clone(&watched);
            spawn_local(async move {
                watch(inward, watched).await;
                drop(out);
            });
        });
        let mut own = None;
        if role == Role::Client {
            let (mut out, inward) = session.open().await.unwrap().split();
            send(&mut out, &b"x"[..]).await.unwrap();
            spawn_local(watch(inward, Rc::clone(&seen)));
            peer.read_until(|frame| frame.kind == DATA).await;
            own = Some(out);
        }
        if !case.before.is_empty() {
            assert!(peer.write(unhex(&case.before)).await);
            peer.sync()
                .await
                .expect("the session ended before the vector");
        }
        *seen.borrow_mut() = Seen::default();
        Self {
            peer,
            session,
            running,
            seen,
            _own: own,
        }
    }

    async fn lives(mut self, case: &Case) {
        let frames = self.peer.sync().await.expect("the session ended");
        let replies = frames.iter().filter(|frame| !is_housekeeping(frame));
        let wanted: Vec<_> = case.replies.iter().map(|reply| unhex(reply)).collect();
        assert_eq!(replies.map(told).collect::<Vec<_>>(), wanted, "replies");
        let seen = self.seen.borrow();
        assert_eq!(seen.streams, case.opens, "streams opened");
        assert_eq!(seen.bytes, unhex(&case.delivers), "bytes delivered");
    }

    async fn ends(mut self, ends: Ends) {
        if ends == Ends::GoneAway {
            return self.session.closed().await;
        }
        let frames = self.peer.rest().await;
        let last = frames.iter().rfind(|frame| frame.kind == GO_AWAY);
        let code = last.map(|frame| frame.length);
        assert_eq!(code, Some(1), "GO_AWAY of {frames:?}");
        self.running.await.unwrap().unwrap_err();
    }
}

async fn check(case: &Case) {
    let mut rig = Rig::new(case).await;
    let mut bytes = unhex(&case.bytes);
    bytes.resize(bytes.len() + case.zeros, 0);
    rig.peer.write(bytes).await;
    match case.ends {
        None => rig.lives(case).await,
        Some(ends) => rig.ends(ends).await,
    }
}

#[test]
fn sessions_do_what_the_vectors_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/vectors/mux");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut failed = Vec::new();
    for path in paths {
        let file: File = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert!(!file.about.is_empty() && !file.cases.is_empty());
        for case in file.cases {
            let name = case.name.clone();
            eprintln!("{}: {name}", path.file_name().unwrap().display());
            let done = std::panic::catch_unwind(|| paused(check(&case)));
            if done.is_err() {
                failed.push(format!("{}: {name}", path.file_name().unwrap().display()));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
