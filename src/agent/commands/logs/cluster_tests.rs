//! Against a real API server, kubelet and containerd; see [`Space`].

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::*;
use crate::agent::commands::pod::testing::{Said, Space};
use crate::agent::config::CommandsConfig;
use crate::wire::control::{Encoding, Message};
use tokio::time::timeout;

async fn run(client: &Client, command: &Logs, queue: mpsc::Sender<Message>) -> LogsEnd {
    let policy = Policy::new(&CommandsConfig::default());
    let out = Outgoing::new("c-1", queue, command.credit);
    logs(client, &policy, command, out, &CancellationToken::new()).await
}

async fn read(client: &Client, command: &Logs) -> (LogsEnd, Said) {
    let (sender, queue) = mpsc::channel(4);
    tokio::join!(run(client, command, sender), Said::of(queue))
}

fn of(space: &Space, pod: &str) -> Logs {
    Logs {
        pod: pod.to_owned(),
        namespace: space.name.clone(),
        ..Logs::default()
    }
}

fn whole(end: &LogsEnd) {
    assert_eq!((end.outcome, &end.error), (Outcome::Succeeded, &None));
}

#[tokio::test]
async fn the_log_is_as_it_was_asked_for() {
    let Some(space) = Space::new("logs-ask").await else {
        return;
    };
    let script = "seq 1 20000; sleep 2.2; echo late; sleep 1000";
    space.pod("one", script, &["side"]).await;
    sleep(Duration::from_secs(6)).await;
    let mut command = of(&space, "one");
    let (end, _) = read(&space.client, &command).await;
    let error = end.error.unwrap();
    assert_eq!(error.code, "INVALID_REQUEST");
    assert!(error.message.contains("[main side]"), "{error:?}");

    command.container = Some("main".to_owned());
    let (end, said) = read(&space.client, &command).await;
    whole(&end);
    let expected: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert!(said.text().0 == format!("{expected}late\n"));

    command.tail_lines = Some(2);
    command.timestamps = true;
    let (_, said) = read(&space.client, &command).await;
    let stamped: Vec<_> = said
        .text()
        .0
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    assert_eq!(
        stamped.iter().map(|(_, body)| *body).collect::<Vec<_>>(),
        ["20000", "late"]
    );
    let late: Timestamp = stamped[1].0.parse().unwrap();

    command.tail_lines = None;
    command.timestamps = false;
    for (since, expected) in [(late, "late\n"), (late + Duration::from_nanos(1), "")] {
        command.since = Some(since);
        let (end, said) = read(&space.client, &command).await;
        whole(&end);
        assert_eq!(said.text().0, expected);
    }
    for (pod, container, code) in [
        ("none", None, "NOT_FOUND"),
        ("one", Some("nope"), "NOT_FOUND"),
    ] {
        command.pod = pod.to_owned();
        command.container = container.map(str::to_owned);
        let (end, _) = read(&space.client, &command).await;
        assert_eq!(
            (end.outcome, end.error.unwrap().code.as_str()),
            (Outcome::Failed, code)
        );
    }
    space.end().await;
}

#[tokio::test]
async fn the_log_before_a_restart_is_read() {
    let Some(space) = Space::new("logs-previous").await else {
        return;
    };
    let script = "cat /proc/sys/kernel/random/uuid; sleep 4; exit 1";
    space
        .pod_like("one", script, &[], serde_json::json!({}), "Always")
        .await;
    let mut command = of(&space, "one");
    command.follow = true;
    // The end of the container is the end of its log, though another one follows.
    let (end, first) = read(&space.client, &command).await;
    whole(&end);
    assert_eq!(first.stdout.len(), 37);
    command.follow = false;
    let mut second = Said::default();
    while second.stdout.is_empty() || second.stdout == first.stdout {
        sleep(Duration::from_millis(500)).await;
        second = read(&space.client, &command).await.1;
    }
    command.previous = true;
    let (end, before) = read(&space.client, &command).await;
    whole(&end);
    assert_eq!(before.stdout, first.stdout);
    space.end().await;
}

/// Lines, a very long one, bytes that are no text, and no end to the last line.
const ODD: &str = "echo first; head -c 300000 /dev/zero | tr '\\0' 'x'; echo; printf 'a\\377\\000b\\n'; \
                   until [ -e /tmp/go ]; do sleep 0.1; done; printf 'last'";

#[tokio::test]
async fn a_followed_log_ends_with_its_container_and_keeps_its_bytes() {
    let Some(space) = Space::new("logs-follow").await else {
        return;
    };
    let script = ODD.replace(
        "until [ -e /tmp/go ]; do sleep 0.1; done",
        "sleep 3; echo on; sleep 2",
    );
    space.pod("one", &script, &[]).await;
    let mut command = of(&space, "one");
    command.follow = true;
    let (end, said) = read(&space.client, &command).await;
    whole(&end);
    let expected = [
        b"first\n".as_slice(),
        &vec![b'x'; 300_000],
        b"\na\xff\0b\non\nlast",
    ]
    .concat();
    let got = said.stdout.strip_suffix(b"\n").unwrap_or(&said.stdout);
    assert!(
        got == expected,
        "{} bytes for {}",
        got.len(),
        expected.len()
    );
    space.end().await;
}

#[tokio::test]
async fn connections_that_break_lose_and_repeat_nothing() {
    let Some(space) = Space::new("logs-broken").await else {
        return;
    };
    // In spells, so that most of it is followed; many lines of the same length within a second. What is passed over when it
    // is picked up again has to fit between two breaks.
    let script = "for n in 1 2 3 4 5 6 7 8; do seq ${n}00000 ${n}03000; head -c 70000 /dev/zero | tr '\\0' 'x'; echo; \
                  sleep 1.5; done";
    space.pod("one", script, &[]).await;
    let client = space.brittle(600_000).await;
    let mut command = of(&space, "one");
    command.follow = true;
    let expected: String = (1..=8)
        .flat_map(|n| {
            let lines = (n * 100_000..=n * 100_000 + 3000).map(|n| format!("{n}\n"));
            lines.chain([format!("{}\n", "x".repeat(70_000))])
        })
        .collect();
    let (end, said) = read(&client, &command).await;
    whole(&end);
    assert!(said.text().0 == expected, "{} bytes", said.stdout.len());
    space.end().await;
}

#[tokio::test]
async fn a_log_that_can_not_be_picked_up_says_how_far_it_is_whole() {
    let Some(space) = Space::new("logs-cut").await else {
        return;
    };
    space.pod("one", "seq 1 100000; sleep 1000", &[]).await;
    sleep(Duration::from_secs(2)).await;
    let client = space.brittle(300_000).await;
    let (end, said) = read(&client, &of(&space, "one")).await;
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(!said.stdout.is_empty() && expected.starts_with(said.text().0));
    let error = end.error.unwrap();
    assert!(error.message.contains("whole up to"), "{error:?}");
    assert!(error.details.contains_key("whole_until"));
    space.end().await;
}

/// Kilobytes of memory that this process has.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// 50 MB in lines of 1000 bytes with their numbers.
const NUMBERED: &str = "awk 'BEGIN { p = sprintf(\"%991s\", \"\"); gsub(/ /, \"x\", p); \
                        for (i = 0; i < 50000; i++) { printf \"%08d%s\\n\", i, p; PAUSE } }'";

/// What came of it, without keeping it.
#[derive(Default)]
struct Heard {
    sum: Sha256,
    bytes: usize,
}

impl Heard {
    fn take(&mut self, message: Message) {
        let Message::LogsOutput(said) = message else {
            panic!("{message:?}")
        };
        assert_eq!(said.encoding, Encoding::Utf8);
        self.sum.update(said.data.as_bytes());
        self.bytes += said.data.len();
    }
}

fn numbered() -> Heard {
    let mut all = Heard::default();
    let pad = "x".repeat(991);
    for n in 0..50_000 {
        let line = format!("{n:08}{pad}\n");
        all.sum.update(line.as_bytes());
        all.bytes += line.len();
    }
    all
}

async fn slowly(
    mut queue: mpsc::Receiver<Message>,
    first: Duration,
    each: Duration,
) -> (Heard, u64) {
    let mut heard = Heard::default();
    let mut most = 0;
    sleep(first).await;
    while let Some(message) = queue.recv().await {
        heard.take(message);
        most = most.max(memory());
        sleep(each).await;
    }
    (heard, most)
}

#[tokio::test]
async fn fifty_megabytes_are_read_slowly_in_little_memory() {
    let Some(space) = Space::new("logs-slow").await else {
        return;
    };
    space.pod("one", &NUMBERED.replace("PAUSE", ""), &[]).await;
    let mut command = of(&space, "one");
    command.follow = true;
    let before = memory();
    let (sender, queue) = mpsc::channel(4);
    let pace = slowly(queue, Duration::ZERO, Duration::from_millis(6));
    let (end, (heard, most)) = tokio::join!(run(&space.client, &command, sender), pace);
    eprintln!(
        "{end:?}; {} bytes, memory {before} KiB, at most {most} KiB",
        heard.bytes
    );
    let expected = numbered();
    if end.error.is_none() {
        whole(&end);
        assert_eq!(heard.bytes, expected.bytes);
        assert!(heard.sum.finalize() == expected.sum.finalize());
    }
    // Alone it is less than 1 MiB; what other tests of this process keep is in it, too.
    assert!(most < before + 25 * 1024, "{before} KiB grew to {most} KiB");
    space.end().await;
}

#[tokio::test]
async fn what_a_kubelet_passes_over_is_told() {
    let Some(space) = Space::new("logs-rotated").await else {
        return;
    };
    // About 1.2 MB a second: the kubelet rotates at 10 MiB, and looks every 10 s.
    let pause = "if (i % 250 == 0) { fflush(); system(\"sleep 0.2\") }";
    space
        .pod("one", &NUMBERED.replace("PAUSE", pause), &[])
        .await;
    let mut command = of(&space, "one");
    command.follow = true;
    let (sender, queue) = mpsc::channel(4);
    let pace = slowly(queue, Duration::from_secs(38), Duration::from_millis(1));
    let (end, (heard, _)) = tokio::join!(run(&space.client, &command, sender), pace);
    let expected = numbered();
    let whole = heard.sum.finalize() == expected.sum.finalize();
    eprintln!("{end:?}; {} bytes, whole: {whole}", heard.bytes);
    // A pause that the reader was late for is told as well: from here it looks the same.
    assert!(whole || end.error.is_some(), "{end:?}");
    space.end().await;
}

#[tokio::test]
async fn a_kubelet_that_missed_a_rotation_is_asked_again() {
    let Some(space) = Space::new("logs-stuck").await else {
        return;
    };
    // Some 25 s of writing, and then only a word now and then: the last file is never rotated.
    let pause = "if (i % 500 == 0) { fflush(); system(\"sleep 0.2\") }";
    let script = NUMBERED.replace("PAUSE", pause).replace("50000", "26000");
    let script = format!("{script}; while sleep 5; do echo now; done");
    space.pod("one", &script, &[]).await;
    let mut command = of(&space, "one");
    command.follow = true;
    let (sender, mut queue) = mpsc::channel(4);
    let cancel = CancellationToken::new();
    let listen = async {
        let mut text = Vec::new();
        sleep(Duration::from_secs(30)).await;
        while let Some(message) = queue.recv().await {
            let Message::LogsOutput(said) = message else {
                panic!("{message:?}")
            };
            text.extend(said.data.into_bytes());
            if text.ends_with(b"now\n") {
                cancel.cancel();
            }
        }
        text
    };
    let policy = Policy::new(&CommandsConfig::default());
    let out = Outgoing::new("c-1", sender, None);
    let end = timeout(
        Duration::from_secs(80),
        logs(&space.client, &policy, &command, out, &cancel),
    );
    let (end, text) = tokio::join!(end, listen);
    let end = end.unwrap();
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| line.len() == 999);
    let whole = lines.count() == 26_000;
    eprintln!("{end:?}; {} bytes, whole: {whole}", text.len());
    assert_eq!(end.outcome, Outcome::Cancelled);
    // A pause that the reader was late for is told as well: from here it looks the same.
    assert!(whole || end.error.is_some(), "{end:?}");
    space.end().await;
}
