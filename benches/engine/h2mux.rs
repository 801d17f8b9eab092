//! HTTP/2 as a multiplexer: a request for each stream, windows and frames as large as they help.

use std::future::poll_fn;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::task::spawn_local;

use crate::bulk::{Counter, count, measure, piece};
use crate::carrier::{Far, Tls};

const STREAM_WINDOW: u32 = 4 << 20;
const WINDOW: u32 = 64 << 20;
const FRAME: u32 = 64 * 1024;

/// Sends all of `data` as the windows allow.
async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return false;
        };
        let now = data.split_to(room.min(data.len()));
        if stream.send_data(now, false).is_err() {
            return false;
        }
    }
    true
}

async fn recv(stream: &mut RecvStream) -> Option<Bytes> {
    let bytes = stream.data().await?.ok()?;
    stream.flow_control().release_capacity(bytes.len()).ok()?;
    Some(bytes)
}

async fn serve(request: Request<RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let Ok(mut out) = respond.send_response(Response::new(()), false) else {
        return;
    };
    let bulk = request.uri().path() == "/b";
    let mut inward = request.into_body();
    if bulk {
        let piece = piece();
        while send(&mut out, piece.clone()).await {}
        return;
    }
    while let Some(bytes) = recv(&mut inward).await {
        if !send(&mut out, bytes).await {
            return;
        }
    }
}

async fn far(io: Far) {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(20_000)
        .handshake::<_, Bytes>(io)
        .await
        .unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        spawn_local(serve(request, respond));
    }
}

async fn near(tls: &Tls) -> SendRequest<Bytes> {
    let address = tls.listen(1, far);
    let (requests, connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .initial_max_send_streams(20_000)
        .handshake::<_, Bytes>(tls.connect(address).await)
        .await
        .unwrap();
    spawn_local(connection);
    requests
}

async fn open(requests: &mut SendRequest<Bytes>, path: &str) -> (SendStream<Bytes>, RecvStream) {
    poll_fn(|cx| requests.poll_ready(cx)).await.unwrap();
    let request = Request::post(format!("https://localhost{path}"))
        .body(())
        .unwrap();
    let (response, out) = requests.send_request(request, false).unwrap();
    (out, response.await.unwrap().into_body())
}

async fn bulk(requests: &mut SendRequest<Bytes>, streams: usize, phases: &(Counter, Counter)) {
    for stream in 0..streams {
        let (out, mut inward) = open(requests, "/b").await;
        let phases = phases.clone();
        spawn_local(async move {
            while let Some(bytes) = recv(&mut inward).await {
                count(&phases, stream, bytes.len());
            }
            drop(out);
        });
    }
}

pub async fn download(tls: &Tls, streams: usize, phases: (Counter, Counter)) -> (f64, f64) {
    let mut requests = near(tls).await;
    bulk(&mut requests, streams, &phases).await;
    measure(&phases).await
}

pub struct Echo {
    out: SendStream<Bytes>,
    inward: RecvStream,
    _requests: SendRequest<Bytes>,
}

impl Echo {
    pub async fn new(tls: &Tls, streams: usize, phases: &(Counter, Counter)) -> Self {
        let mut requests = near(tls).await;
        bulk(&mut requests, streams, phases).await;
        let (out, inward) = open(&mut requests, "/e").await;
        Self {
            out,
            inward,
            _requests: requests,
        }
    }

    pub async fn ping(&mut self, message: &Bytes) {
        assert!(send(&mut self.out, message.clone()).await);
        let mut back = 0;
        while back < message.len() {
            back += recv(&mut self.inward).await.unwrap().len();
        }
    }
}
