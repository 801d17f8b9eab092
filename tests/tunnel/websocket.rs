//! WebSockets, with a real implementation at both ends.

use crate::{
    common::sum::Seeded,
    fixture::{FORMS, Form, Tunnel, tls},
    origin::Origin,
    wire::within,
};
use futures_util::{SinkExt, StreamExt};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config, client_async_with_config,
    tungstenite::{
        Bytes, Message,
        client::IntoClientRequest,
        handshake::server::{Request, Response},
        protocol::{
            CloseFrame, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data, OpCode},
            },
        },
    },
};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

const SIZE: usize = 16 * 1024 * 1024;

fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .max_message_size(Some(2 * SIZE))
        .max_frame_size(Some(2 * SIZE))
}

/// What the target saw, message by message; the head of a handshake is a text.
type Seen = Arc<Mutex<Vec<Message>>>;

fn head(request: &Request) -> Message {
    Message::text(format!("{} {:?}", request.uri(), request.headers()))
}

/// An echo; a text `close NNNN REASON` has it close.
async fn echo() -> (Origin, Seen) {
    let seen = Seen::default();
    let notes = Arc::clone(&seen);
    let origin = Origin::raw(move |conn| {
        let notes = Arc::clone(&notes);
        async move {
            let (_, stream) = conn.into_parts();
            #[expect(clippy::result_large_err, reason = "the library's type")]
            let choose = |request: &Request, mut response: Response| {
                notes.lock().unwrap().push(head(request));
                if let Some(asked) = request.headers().get("sec-websocket-protocol") {
                    let first = asked
                        .to_str()
                        .unwrap()
                        .split(',')
                        .next()
                        .unwrap()
                        .trim()
                        .parse()
                        .unwrap();
                    response
                        .headers_mut()
                        .insert("sec-websocket-protocol", first);
                }
                Ok(response)
            };
            let mut socket = accept_hdr_async_with_config(stream, choose, Some(config()))
                .await
                .unwrap();
            while let Some(Ok(message)) = socket.next().await {
                notes.lock().unwrap().push(message.clone());
                match &message {
                    Message::Text(text) if text.starts_with("close ") => {
                        let mut words = text.splitn(3, ' ').skip(1);
                        let code = words.next().unwrap().parse::<u16>().unwrap();
                        let reason = words.next().unwrap().into();
                        let frame = CloseFrame {
                            code: CloseCode::from(code),
                            reason,
                        };
                        socket.close(Some(frame)).await.unwrap();
                    }
                    Message::Text(_) | Message::Binary(_) => socket.send(message).await.unwrap(),
                    Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {
                    }
                }
            }
        }
    })
    .await;
    (origin, seen)
}

async fn open_with(
    tunnel: &Tunnel,
    form: Form,
    fields: &[(&'static str, String)],
) -> (Socket, Response) {
    let name = tunnel.hostname(form);
    let stream = tls(
        tunnel.gateway.addr,
        &tunnel.gateway.ca(),
        &name,
        b"http/1.1",
    )
    .await
    .unwrap();
    let url = format!("wss://{}{}/socket", tunnel.host(form), tunnel.prefix(form));
    let mut request = url.into_client_request().unwrap();
    for (name, value) in fields {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let opened = client_async_with_config(request, stream, Some(config()));
    let (socket, response) = within("a WebSocket", opened).await.expect("a WebSocket");
    (socket, response.map(|_| ()))
}

async fn open(tunnel: &Tunnel, form: Form) -> Socket {
    let bearer = ("authorization", format!("Bearer {}", tunnel.token));
    open_with(tunnel, form, &[bearer]).await.0
}

async fn next(socket: &mut Socket) -> Message {
    within("a message", socket.next())
        .await
        .expect("a message")
        .expect("a message")
}

#[tokio::test(flavor = "multi_thread")]
async fn text_and_binary_come_back_by_both_forms() {
    let (origin, _) = echo().await;
    let tunnel = Tunnel::to(&origin);
    for form in FORMS {
        let mut socket = open(&tunnel, form).await;
        for n in 0..100 {
            for message in [
                Message::text(format!("grüße {n}")),
                Message::text(""),
                Message::binary(Seeded::bytes(n, n * 100)),
            ] {
                socket.send(message.clone()).await.unwrap();
                assert_eq!(next(&mut socket).await, message);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_16_mib_comes_back() {
    let (origin, _) = echo().await;
    let tunnel = Tunnel::to(&origin);
    let socket = open(&tunnel, Form::Host).await;
    let message = Message::binary(Seeded::bytes(9, SIZE as u64));
    let sent = message.clone();
    let (mut write, mut read) = socket.split();
    let writer = tokio::spawn(async move { write.send(sent).await });
    let back = within("the message", read.next()).await.unwrap().unwrap();
    writer.await.unwrap().unwrap();
    assert!(back == message);
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_are_one_message_also_with_a_ping_between_them() {
    let (origin, seen) = echo().await;
    let tunnel = Tunnel::to(&origin);
    let mut socket = open(&tunnel, Form::Host).await;
    let part = |text: &'static str, code, last| {
        Message::Frame(Frame::message(
            Bytes::from_static(text.as_bytes()),
            OpCode::Data(code),
            last,
        ))
    };
    socket.send(part("one ", Data::Text, false)).await.unwrap();
    socket
        .send(part("two ", Data::Continue, false))
        .await
        .unwrap();
    socket
        .send(Message::Ping(Bytes::from_static(b"between")))
        .await
        .unwrap();
    socket
        .send(part("three", Data::Continue, true))
        .await
        .unwrap();
    assert_eq!(
        next(&mut socket).await,
        Message::Pong(Bytes::from_static(b"between"))
    );
    assert_eq!(next(&mut socket).await, Message::text("one two three"));
    let seen = seen.lock().unwrap().clone();
    assert_eq!(
        seen[1..],
        [
            Message::Ping(Bytes::from_static(b"between")),
            Message::text("one two three")
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_pongs_are_the_two_ends_own() {
    let (origin, seen) = echo().await;
    let tunnel = Tunnel::to(&origin);
    let mut socket = open(&tunnel, Form::Host).await;
    for n in 0..10_u8 {
        socket
            .send(Message::Ping(vec![n; 125].into()))
            .await
            .unwrap();
        assert_eq!(next(&mut socket).await, Message::Pong(vec![n; 125].into()));
    }
    assert_eq!(
        seen.lock().unwrap().len() - 1,
        10,
        "each ping reaches the target, and nothing else"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_of_the_client_reaches_the_target_with_code_and_reason() {
    let (origin, seen) = echo().await;
    let tunnel = Tunnel::to(&origin);
    for code in [1000, 1001, 3000, 4999] {
        let mut socket = open(&tunnel, Form::Host).await;
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: "bye now".into(),
        };
        socket.close(Some(frame.clone())).await.unwrap();
        assert_eq!(
            next(&mut socket).await,
            Message::Close(Some(frame.clone())),
            "the target's answer"
        );
        assert!(
            within("the end", socket.next()).await.is_none(),
            "a close in good order"
        );
        assert_eq!(
            seen.lock().unwrap().last(),
            Some(&Message::Close(Some(frame)))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_of_the_target_reaches_the_client_with_code_and_reason() {
    let (origin, seen) = echo().await;
    let tunnel = Tunnel::to(&origin);
    for code in [1000, 1011, 4000] {
        let mut socket = open(&tunnel, Form::Host).await;
        socket
            .send(Message::text(format!("close {code} for today")))
            .await
            .unwrap();
        let frame = CloseFrame {
            code: CloseCode::from(code),
            reason: "for today".into(),
        };
        assert_eq!(next(&mut socket).await, Message::Close(Some(frame.clone())));
        assert!(
            within("the end", socket.next()).await.is_none(),
            "a close in good order"
        );
        assert_eq!(
            seen.lock().unwrap().last(),
            Some(&Message::Close(Some(frame))),
            "the client's answer"
        );
    }
}

/// The token as browsers send it.
fn bearer_protocol(token: &str) -> String {
    let token = data_encoding::BASE64URL_NOPAD.encode(token.as_bytes());
    format!("base64url.bearer.authorization.k8s.io.{token}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_send_its_token_as_a_subprotocol_which_the_target_never_sees() {
    let (origin, seen) = echo().await;
    let tunnel = Tunnel::to(&origin);
    let bearer = bearer_protocol(&tunnel.token);
    for form in FORMS {
        for protocols in [
            format!("{bearer}, chat.v1, other"),
            format!("chat.v1, {bearer}, other"),
        ] {
            let (mut socket, response) =
                open_with(&tunnel, form, &[("sec-websocket-protocol", protocols)]).await;
            assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v1");
            socket.send(Message::text("hello")).await.unwrap();
            assert_eq!(next(&mut socket).await, Message::text("hello"));
        }
    }
    let seen = format!("{:?}", seen.lock().unwrap());
    assert_eq!(seen.matches("chat.v1, other").count(), 4, "{seen}");
    assert!(
        !seen.contains("bearer") && !seen.contains(&tunnel.token),
        "{seen}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sockets_live_side_by_side() {
    let (origin, _) = echo().await;
    let tunnel = Tunnel::to(&origin);
    let mut sockets = Vec::new();
    for _ in 0..50 {
        sockets.push(open(&tunnel, Form::Host).await);
    }
    for round in 0..5 {
        for (n, socket) in sockets.iter_mut().enumerate() {
            socket
                .send(Message::text(format!("{round} {n}")))
                .await
                .unwrap();
        }
        for (n, socket) in sockets.iter_mut().enumerate() {
            assert_eq!(next(socket).await, Message::text(format!("{round} {n}")));
        }
    }
}
