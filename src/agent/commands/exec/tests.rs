use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{Error, Message as Frame};

use super::session::{Kind, feed, read};
use super::*;
use crate::agent::config::CommandsConfig;
use crate::wire::control::{Encoding, Message, TerminalSize};

const ALL: Kind = Kind {
    stdin: true,
    tty: true,
    closes: true,
};

fn frame(channel: u8, data: &[u8]) -> Result<Frame, Error> {
    Ok(Frame::Binary([&[channel], data].concat().into()))
}

fn output() -> (Output, mpsc::Receiver<Message>) {
    let (sender, queue) = mpsc::channel(64);
    (Output::new(Outgoing::new("c-1", sender, None)), queue)
}

fn status(text: &str) -> Status {
    serde_json::from_str(text).unwrap()
}

const EXIT_3: &str = r#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code",
    "reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;

#[tokio::test(start_paused = true)]
async fn output_is_sent_before_the_end_is_told() {
    let frames = vec![
        frame(1, b""),
        frame(2, b""),
        frame(1, b"one"),
        frame(2, b"oh"),
        frame(1, b" two"),
        frame(3, EXIT_3.as_bytes()),
    ];
    let (mut output, mut queue) = output();
    let status = read(futures_util::stream::iter(frames), &mut output)
        .await
        .unwrap();
    assert_eq!(status::exit_code(&status), Some(3));
    let mut said = Vec::new();
    while let Ok(Message::ExecOutput(one)) = queue.try_recv() {
        said.push((one.sequence, one.data));
    }
    assert_eq!(said, [(1, "one two".to_owned()), (2, "oh".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_no_end() {
    for last in [
        None,
        Some(Err(Error::ConnectionClosed)),
        Some(frame(3, b"{")),
    ] {
        let frames = [Some(frame(1, b"one")), last].into_iter().flatten();
        let (mut output, mut queue) = output();
        let error = read(futures_util::stream::iter(frames), &mut output)
            .await
            .unwrap_err();
        assert_eq!(error.code, "TARGET_FAILED");
        assert!(queue.try_recv().is_ok());
    }
}

/// What the server gets, and the complaint if there is one.
async fn fed(kind: Kind, said: Vec<ExecInput>) -> (Vec<Bytes>, Option<String>) {
    let (sender, input) = mpsc::channel(16);
    for one in said {
        sender.send(one).await.unwrap();
    }
    let (sink, frames) = futures_channel();
    let fed = timeout(Duration::from_secs(1), feed(sink, input, kind)).await;
    drop(sender);
    let frames: Vec<_> = frames.collect().await;
    (frames, fed.ok().map(|error| error.message))
}

fn futures_channel() -> (
    impl futures_util::Sink<Frame, Error = Error> + Unpin,
    impl futures_util::Stream<Item = Bytes>,
) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1024);
    let sink = futures_util::sink::unfold(sender, |sender, frame: Frame| async move {
        if let Frame::Binary(bytes) = frame {
            sender.send(bytes).await.unwrap();
        }
        Ok::<_, Error>(sender)
    });
    let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    (Box::pin(sink.sink_map_err(|error: Error| error)), stream)
}

fn input(data: &str) -> ExecInput {
    ExecInput {
        data: data.to_owned(),
        ..ExecInput::default()
    }
}

#[tokio::test(start_paused = true)]
async fn input_its_end_and_sizes_reach_the_server() {
    let size = TerminalSize {
        width: 100,
        height: 30,
    };
    let said = vec![
        ExecInput {
            resize: Some(size),
            ..input("ls\n")
        },
        ExecInput {
            encoding: Encoding::Base64,
            ..input("/wA=")
        },
        input(&"x".repeat(40_000)),
        ExecInput {
            end: true,
            ..input("")
        },
    ];
    let (frames, error) = fed(ALL, said).await;
    assert_eq!(error, None);
    let expected: [&[u8]; 3] = [
        b"\x04{\"Width\":100,\"Height\":30}",
        b"\x00ls\n",
        b"\x00\xff\x00",
    ];
    assert_eq!(&frames[..3], expected);
    assert_eq!(
        frames[3..].iter().map(Bytes::len).collect::<Vec<_>>(),
        [32 * 1024 + 1, 40_000 - 32 * 1024 + 1, 2]
    );
    assert_eq!(frames[5], &b"\xff\x00"[..]);
}

#[tokio::test(start_paused = true)]
async fn input_that_would_be_lost_ends_the_command() {
    let end = || ExecInput {
        end: true,
        ..input("")
    };
    let deaf = Kind {
        stdin: false,
        ..ALL
    };
    let old = Kind {
        closes: false,
        ..ALL
    };
    let bad = ExecInput {
        encoding: Encoding::Base64,
        ..input("?")
    };
    for (kind, said, expected) in [
        (deaf, vec![input("x")], "without (stdin)"),
        (ALL, vec![end(), input("x")], "after its end"),
        (old, vec![end()], "v4.channel.k8s.io"),
        (ALL, vec![bad], "not base64"),
    ] {
        let (_, error) = fed(kind, said).await;
        assert!(
            error.as_ref().is_some_and(|error| error.contains(expected)),
            "{error:?}"
        );
    }
    assert_eq!(fed(deaf, vec![end()]).await, (vec![], None));
}

#[test]
fn exit_codes_are_read() {
    let code = |text: &str| status::exit_code(&status(text));
    assert_eq!(code(r#"{"metadata":{},"status":"Success"}"#), Some(0));
    assert_eq!(code(EXIT_3), Some(3));
    assert_eq!(
        code(r#"{"status":"Failure","message":"m","reason":"InternalError","code":500}"#),
        None
    );
    assert_eq!(
        code(r#"{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[]}}"#),
        None
    );
}

fn command() -> Exec {
    Exec {
        pod: "web".into(),
        namespace: "shop".into(),
        command: vec!["true".into()],
        ..Exec::default()
    }
}

#[test]
fn what_may_not_be_run_is_refused_before_anything_is_asked() {
    let mut config = CommandsConfig::default();
    let policy = Policy::new(&config);
    check(&policy, &command()).unwrap();
    let mut odd = command();
    odd.command.clear();
    assert_eq!(check(&policy, &odd).unwrap_err().code, "INVALID_REQUEST");
    let mut odd = command();
    odd.pod = "../../other/pods/web".into();
    assert_eq!(check(&policy, &odd).unwrap_err().code, "INVALID_REQUEST");
    config.exec = false;
    let error = check(&Policy::new(&config), &command()).unwrap_err();
    assert_eq!(error.code, "FORBIDDEN");
}

#[test]
fn the_shorter_time_limit_counts() {
    let policy = Policy::new(&CommandsConfig::default());
    let of = |timeout_ms| {
        limit(
            &policy,
            &Exec {
                timeout_ms,
                ..command()
            },
        )
    };
    assert_eq!(of(None), policy.config().exec_timeout.0);
    assert_eq!(of(Some(5)), Duration::from_millis(5));
    assert_eq!(of(Some(u64::MAX)), policy.config().exec_timeout.0);
}
