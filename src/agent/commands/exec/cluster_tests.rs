//! Against a real API server, kubelet and containerd; see [`Space`].

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::*;
use crate::agent::commands::pod::testing::{Said, Space};
use crate::agent::config::CommandsConfig;
use crate::config::Period;
use crate::wire::control::{Encoding, Message, TerminalSize};

const IDLE: &str = "sleep 1000000";

/// A command under way, and what may be said to it.
struct Run {
    command: Exec,
    input: mpsc::Sender<ExecInput>,
    heard: mpsc::Receiver<ExecInput>,
    cancel: CancellationToken,
    limit: Duration,
}

impl Run {
    fn new(space: &Space, pod: &str, command: &[&str]) -> Self {
        let (input, heard) = mpsc::channel(4);
        Self {
            command: Exec {
                pod: pod.to_owned(),
                namespace: space.name.clone(),
                command: command.iter().map(|word| (*word).to_owned()).collect(),
                ..Exec::default()
            },
            input,
            heard,
            cancel: CancellationToken::new(),
            limit: Duration::from_secs(120),
        }
    }

    fn shell(space: &Space, pod: &str, script: &str) -> Self {
        Self::new(space, pod, &["sh", "-c", script])
    }

    async fn with(self, space: &Space, queue: mpsc::Sender<Message>) -> ExecResult {
        let policy = Policy::new(&CommandsConfig {
            exec_timeout: Period(self.limit),
            ..CommandsConfig::default()
        });
        let out = Outgoing::new("c-1", queue, self.command.credit);
        let Self {
            command,
            heard,
            cancel,
            ..
        } = &mut { self };
        let heard = std::mem::replace(heard, mpsc::channel(1).1);
        exec(&space.client, &policy, command, heard, out, cancel).await
    }

    async fn end(self, space: &Space) -> (ExecResult, Said) {
        let (sender, queue) = mpsc::channel(4);
        tokio::join!(self.with(space, sender), Said::of(queue))
    }
}

fn input(data: &[u8], end: bool) -> ExecInput {
    ExecInput {
        encoding: Encoding::Base64,
        data: data_encoding::BASE64.encode(data),
        end,
        ..ExecInput::default()
    }
}

#[tokio::test]
async fn exit_codes_and_refusals_are_kubernetes_own() {
    let Some(space) = Space::new("exec-codes").await else {
        return;
    };
    space.pod("one", IDLE, &[]).await;
    space.pod("two", IDLE, &["side"]).await;
    let default = serde_json::json!({"kubectl.kubernetes.io/default-container": "side"});
    space
        .pod_like("chosen", IDLE, &["side"], default, "Never")
        .await;
    let (result, said) = Run::shell(&space, "one", "echo out; echo err >&2")
        .end(&space)
        .await;
    assert_eq!((result.exit_code, result.error), (Some(0), None));
    assert_eq!(said.text(), ("out\n", "err\n"));
    for (script, code) in [("exit 3", 3), ("no-such-program", 127), ("kill -9 $$", 137)] {
        let (result, _) = Run::shell(&space, "one", script).end(&space).await;
        assert_eq!(result.exit_code, Some(code), "{script}: {result:?}");
        assert_eq!(result.outcome, Outcome::Succeeded);
    }
    let (result, _) = Run::new(&space, "chosen", &["true"]).end(&space).await;
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let mut nowhere = Run::new(&space, "one", &["true"]);
    nowhere.command.container = Some("nope".to_owned());
    for (run, code, words) in [
        (
            Run::new(&space, "one", &["no-such-program"]),
            "NOT_FOUND",
            "executable file not found",
        ),
        (
            Run::new(&space, "none", &["true"]),
            "NOT_FOUND",
            "pods \"none\" not found",
        ),
        (
            nowhere,
            "NOT_FOUND",
            "container nope is not valid for pod one",
        ),
        (
            Run::new(&space, "two", &["true"]),
            "INVALID_REQUEST",
            "[main side]",
        ),
    ] {
        let (result, _) = run.end(&space).await;
        let error = result.error.unwrap();
        assert_eq!(
            (result.outcome, error.code.as_str()),
            (Outcome::Failed, code),
            "{error:?}"
        );
        assert!(error.message.contains(words), "{error:?}");
    }
    space.end().await;
}

#[tokio::test]
async fn who_may_not_is_told_by_kubernetes() {
    let Some(mut space) = Space::new("exec-nobody").await else {
        return;
    };
    space.pod("one", IDLE, &[]).await;
    let nobody = space.nobody();
    let admin = std::mem::replace(&mut space.client, nobody);
    let (result, _) = Run::new(&space, "one", &["true"]).end(&space).await;
    let error = result.error.unwrap();
    assert_eq!(error.code, "FORBIDDEN");
    assert!(
        error.message.contains("cannot") && error.message.contains("pods/exec"),
        "{error:?}"
    );
    space.client = admin;
    space.end().await;
}

#[tokio::test]
async fn binary_input_comes_back_whole_and_slow_readers_hold_it_up() {
    const LENGTH: usize = 10 << 20;
    let Some(space) = Space::new("exec-cat").await else {
        return;
    };
    space.pod("one", IDLE, &[]).await;
    let mut bytes = vec![0; LENGTH];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    let mut run = Run::shell(&space, "one", "cat; sleep 1; echo end >&2; exit 5");
    run.command.stdin = true;
    let sender = run.input.clone();
    let feed = async {
        for piece in bytes.chunks(100_000) {
            sender.send(input(piece, false)).await.unwrap();
        }
        sender.send(input(b"", true)).await.unwrap();
    };
    let (queue, mut said) = mpsc::channel(2);
    let listen = async {
        // Long enough for all buffers on the way to be full.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut all = Said::default();
        while let Some(message) = said.recv().await {
            all.take(message);
        }
        all
    };
    let (result, said, ()) = tokio::join!(run.with(&space, queue), listen, feed);
    assert_eq!(result.exit_code, Some(5), "{result:?}");
    assert_eq!(said.stdout.len(), LENGTH);
    assert_eq!(Sha256::digest(&said.stdout), Sha256::digest(&bytes));
    assert_eq!(said.stderr, b"end\n");
    space.end().await;
}

#[tokio::test]
async fn a_terminal_has_a_size_that_changes() {
    let Some(space) = Space::new("exec-tty").await else {
        return;
    };
    space.pod("one", IDLE, &[]).await;
    let mut run = Run::new(&space, "one", &["sh"]);
    run.command.tty = true;
    run.command.stdin = true;
    let say = run.input.clone();
    let type_in = |text: &'static str, size: Option<(u16, u16)>| {
        let say = say.clone();
        async move {
            let resize = size.map(|(width, height)| TerminalSize { width, height });
            let data = text.to_owned();
            say.send(ExecInput {
                data,
                resize,
                ..ExecInput::default()
            })
            .await
            .unwrap();
        }
    };
    let (queue, mut said) = mpsc::channel(4);
    let talk = async {
        let mut all = Said::default();
        for (size, expected) in [((100, 30), "30 100"), ((90, 20), "20 90")] {
            type_in("", Some(size)).await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            type_in("stty size\n", None).await;
            while !String::from_utf8_lossy(&all.stdout).contains(expected) {
                all.take(said.recv().await.unwrap());
            }
        }
        let before = Instant::now();
        type_in("echo a$((1+1))b\n", None).await;
        while !String::from_utf8_lossy(&all.stdout).contains("a2b") {
            all.take(said.recv().await.unwrap());
        }
        let echo = before.elapsed();
        type_in("exit 4\n", None).await;
        while said.recv().await.is_some() {}
        echo
    };
    let (result, echo) = tokio::join!(run.with(&space, queue), talk);
    assert_eq!(result.exit_code, Some(4), "{result:?}");
    eprintln!("an echo took {echo:?}");
    assert!(echo < Duration::from_secs(1), "{echo:?}");
    space.end().await;
}

#[tokio::test]
async fn programs_are_given_up_in_time_and_when_asked() {
    let Some(space) = Space::new("exec-stop").await else {
        return;
    };
    space.pod("one", IDLE, &[]).await;
    let mut run = Run::shell(&space, "one", "echo begun; sleep 1000");
    run.command.timeout_ms = Some(1500);
    let (result, said) = run.end(&space).await;
    assert_eq!(result.outcome, Outcome::TimedOut);
    assert_eq!(result.error.unwrap().code, "TARGET_TIMED_OUT");
    assert_eq!(said.text().0, "begun\n");
    for (script, tty, stdin) in [
        ("echo begun; sleep 2000", true, true),
        ("echo begun; cat", true, true),
        ("echo begun; cat; true", false, true),
        ("while echo on; do sleep 0.1; done", false, false),
    ] {
        let mut run = Run::shell(&space, "one", script);
        run.command.tty = tty;
        run.command.stdin = stdin;
        let cancel = run.cancel.clone();
        let (sender, mut queue) = mpsc::channel(4);
        let (result, ()) = tokio::join!(run.with(&space, sender), async {
            queue.recv().await.unwrap();
            cancel.cancel();
        });
        assert_eq!(
            (result.outcome, result.exit_code),
            (Outcome::Cancelled, None)
        );
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (_, left) = Run::shell(&space, "one", "ps -o args").end(&space).await;
    eprintln!(
        "after a time-out, and a cancel in a terminal:\n{}",
        left.text().0
    );
    space.end().await;
}

#[tokio::test]
async fn credit_is_all_that_is_read() {
    let Some(space) = Space::new("exec-credit").await else {
        return;
    };
    space.pod("one", IDLE, &[]).await;
    let mut run = Run::shell(&space, "one", "seq 1 1000000");
    run.command.credit = Some(100_000);
    let policy = Policy::new(&CommandsConfig::default());
    let (queue, mut said) = mpsc::channel(4);
    let out = Outgoing::new("c-1", queue, run.command.credit);
    let bank = out.clone();
    let (_input, heard) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let listen = async {
        let mut all = Said::default();
        while all.stdout.len() < 100_000 {
            all.take(said.recv().await.unwrap());
        }
        let more = timeout(Duration::from_secs(2), said.recv()).await;
        assert!(more.is_err() && all.stdout.len() == 100_000);
        bank.grant(u64::MAX);
        drop(bank);
        while let Some(message) = said.recv().await {
            all.take(message);
        }
        all
    };
    let command = run.command;
    let (result, said) = tokio::join!(
        exec(&space.client, &policy, &command, heard, out, &cancel),
        listen
    );
    assert_eq!(result.exit_code, Some(0), "{result:?}");
    let expected: String = (1..=1_000_000).map(|n| format!("{n}\n")).collect();
    assert!(said.text().0 == expected);
    space.end().await;
}
