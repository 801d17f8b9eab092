//! The WebSocket of one program: binary messages whose first byte is a channel.
//!
//! Input and output go their ways independently of each other: neither waits for the other, whatever the program does.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use kube::client::Connection;
use kube::core::Status;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::agent::commands::output::{Gone, Output, Source, decode};
use crate::agent::commands::pod::failure;
use crate::wire::control::{CommandError, Exec, ExecInput, TerminalSize};
use crate::wire::error::ErrorCode;

/// Channels of `v4.channel.k8s.io` and `v5.channel.k8s.io`.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
/// Of `v5` only: the channel in the next byte is at its end.
const CLOSE: u8 = 255;

/// Bytes of input in one message; what kubectl uses.
const PIECE: usize = 32 * 1024;

/// A proxy on the way to the API server may give up a connection on which nothing moves for a minute.
const PING: Duration = Duration::from_secs(30);

/// Runs until the cluster says how the program has ended, and until all of its output is sent.
pub(super) async fn run(
    connection: Connection,
    command: &Exec,
    input: mpsc::Receiver<ExecInput>,
    output: &mut Output,
) -> Result<Status, CommandError> {
    let kind = Kind {
        stdin: command.stdin,
        tty: command.tty,
        closes: connection.supports_stream_close(),
    };
    let (sink, stream) = connection.into_stream().split();
    tokio::select! {
        biased;
        status = read(stream, output) => status,
        error = feed(sink, input, kind) => Err(error),
    }
}

/// What may be said to a program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) stdin: bool,
    pub(super) tty: bool,
    /// Whether the end of its input can be.
    pub(super) closes: bool,
}

/// Passes output on. Reads only while there is room for it.
pub(super) async fn read(
    mut stream: impl Stream<Item = Result<Message, Error>> + Unpin,
    output: &mut Output,
) -> Result<Status, CommandError> {
    let ended = loop {
        tokio::select! {
            ready = output.ready() => output.emit(ready.map_err(gone)?),
            message = stream.next(), if output.has_room() => match message {
                Some(Ok(Message::Binary(bytes))) => if let Some(status) = take(&bytes, output) {
                    break status;
                },
                // Pings are answered by the WebSocket itself.
                Some(Ok(_)) => {}
                Some(Err(error)) => break Err(broken(&error.to_string())),
                None => break Err(broken("it was closed")),
            },
        }
    };
    output.finish().await.map_err(gone)?;
    ended
}

/// One message of the server: output, or the end.
fn take(bytes: &Bytes, output: &mut Output) -> Option<Result<Status, CommandError>> {
    let (channel, data) = bytes.split_first()?;
    match *channel {
        STDOUT => output.push(Source::Stdout, data),
        STDERR => output.push(Source::Stderr, data),
        STATUS if !data.is_empty() => {
            let status = serde_json::from_slice(data);
            return Some(status.map_err(|error| {
                broken(&format!(
                    "its status is not one of Kubernetes' own: {error}"
                ))
            }));
        }
        _ => {}
    }
    None
}

/// Passes input on; returns only what is wrong with it. A connection that takes no more is not: a program may end without
/// having read its input, and how it has ended is for [`read`] to find.
pub(super) async fn feed(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    mut input: mpsc::Receiver<ExecInput>,
    kind: Kind,
) -> CommandError {
    let mut pings = interval_at(Instant::now() + PING, PING);
    let mut at_end = false;
    loop {
        let said = tokio::select! {
            said = input.recv() => said,
            _ = pings.tick() => {
                if sink.send(Message::Ping(Bytes::new())).await.is_err() {
                    return std::future::pending().await;
                }
                continue;
            }
        };
        let Some(said) = said else {
            keep_alive(sink, pings).await;
            return std::future::pending().await;
        };
        let messages = match messages(&said, kind, at_end) {
            Ok(messages) => messages,
            Err(message) => return failure(ErrorCode::InvalidRequest, message),
        };
        at_end |= said.end;
        for message in messages {
            if sink.send(Message::Binary(message)).await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// Nobody is left who could say anything.
async fn keep_alive(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    mut pings: tokio::time::Interval,
) {
    loop {
        pings.tick().await;
        if sink.send(Message::Ping(Bytes::new())).await.is_err() {
            return;
        }
    }
}

/// What one input says, as messages to the server.
fn messages(said: &ExecInput, kind: Kind, at_end: bool) -> Result<Vec<Bytes>, String> {
    let mut messages = Vec::new();
    if let (Some(size), true) = (said.resize, kind.tty) {
        messages.push(resize(size));
    }
    let data = decode(said.encoding, &said.data).map_err(|error| format!("input is {error}"))?;
    if !data.is_empty() && !kind.stdin {
        return Err("input for a program that was started without (stdin)".to_owned());
    }
    if !data.is_empty() && at_end {
        return Err("input after its end".to_owned());
    }
    messages.extend(data.chunks(PIECE).map(|piece| on(STDIN, piece)));
    if said.end && kind.stdin && !at_end {
        if !kind.closes {
            return Err(
                "the API server speaks only v4.channel.k8s.io (Kubernetes before 1.30), which cannot tell a program \
                 that its input is at an end; it was given up"
                    .to_owned(),
            );
        }
        messages.push(Bytes::from_static(&[CLOSE, STDIN]));
    }
    Ok(messages)
}

fn resize(size: TerminalSize) -> Bytes {
    let TerminalSize { width, height } = size;
    let text = format!(r#"{{"Width":{width},"Height":{height}}}"#);
    on(RESIZE, text.as_bytes())
}

fn on(channel: u8, data: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(1 + data.len());
    message.put_u8(channel);
    message.put_slice(data);
    message.freeze()
}

fn broken(why: &str) -> CommandError {
    failure(
        ErrorCode::TargetFailed,
        format!(
            "the connection to the API server broke before it said how the program has ended, after the output that \
             was sent: {why}"
        ),
    )
}

fn gone(error: Gone) -> CommandError {
    failure(ErrorCode::Unavailable, error.to_string())
}
