//! An agent that lies: the real control channel and carriers, and behind them
//! whatever bytes a test wants.

use crate::{
    common::gateway::Gateway,
    fixture::{Cluster, connect},
};
use bytes::BytesMut;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt, future::poll_fn};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pipeops_tunnel::wire::{frame::Frame, head::ResponseHead};
use std::{io::Cursor, sync::Arc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use tokio_util::compat::TokioAsyncReadCompatExt;

/// What a lying agent does.
#[derive(Debug, Clone)]
pub enum Lie {
    /// Sends these bytes where a session should begin.
    Carrier(Vec<u8>),
    /// Answers each request with these bytes, and keeps the stream or ends it.
    Stream(Vec<u8>, Keep),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Open,
    Ended,
}

/// Connects as this cluster's agent, and lies until the test ends.
pub async fn lie(gateway: &'static Gateway, cluster: &Cluster, lie: Lie) {
    let token = gateway.agent_token(&cluster.name, &cluster.id);
    let url = format!("wss://localhost:{}/v1/agent/connect", gateway.addr.port());
    let mut request = url.into_client_request().unwrap();
    request
        .headers_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (_, stream) = connect(gateway, "localhost").await.into_parts();
    let (mut socket, _) = client_async(request, stream).await.unwrap();
    let lie = Arc::new(lie);
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let Message::Text(text) = message else {
                continue;
            };
            let message: serde_json::Value = serde_json::from_str(&text).unwrap();
            if message["type"] == "open_carrier" {
                let ticket = message["payload"]["ticket"].as_str().unwrap().to_owned();
                tokio::spawn(carrier(gateway, ticket, Arc::clone(&lie)));
            }
        }
    });
}

async fn carrier(gateway: &'static Gateway, ticket: String, lie: Arc<Lie>) {
    let mut client = connect(gateway, "localhost").await;
    let host = format!("localhost:{}", gateway.addr.port());
    let asks = "Connection: Upgrade\r\nUpgrade: pipeops-mux\r\n";
    client.send(format!("GET /v1/agent/carrier HTTP/1.1\r\nHost: {host}\r\n{asks}Authorization: Bearer {ticket}\r\n\r\n")).await;
    assert_eq!(client.head().await.status(), 101);
    let (early, mut stream) = client.into_parts();
    let (bytes, keep) = match &*lie {
        Lie::Carrier(bytes) => {
            drop(stream.write_all(bytes).await);
            drop(stream.read_to_end(&mut Vec::new()).await);
            return;
        }
        Lie::Stream(bytes, keep) => (bytes.clone(), *keep),
    };
    let (read, write) = tokio::io::split(stream);
    let io = tokio::io::join(Cursor::new(early).chain(read), write).compat();
    let mut session = yamux::Connection::new(io, yamux::Config::default(), yamux::Mode::Client);
    while let Some(Ok(mut stream)) = poll_fn(|cx| session.poll_next_inbound(cx)).await {
        let bytes = bytes.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {
                drop(stream.write_all(&bytes).await);
                drop(stream.flush().await);
                if keep == Keep::Ended {
                    drop(stream.close().await);
                    return;
                }
            }
        });
    }
}

/// The bytes of a response with these fields.
pub fn head(status: u16, fields: &[(&'static str, &'static str)]) -> Frame {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    Frame::Response(Box::new(ResponseHead {
        status: StatusCode::from_u16(status).unwrap(),
        headers,
    }))
}

pub fn data(bytes: &'static [u8]) -> Frame {
    Frame::Data(bytes.into())
}

pub fn frames(frames: &[Frame]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for frame in frames {
        frame.encode(&mut out).unwrap();
    }
    out.to_vec()
}
