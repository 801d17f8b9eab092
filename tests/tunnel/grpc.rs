//! gRPC through the tunnel to a real server: etcd, from `tests/kube`.

use crate::{
    common::{cluster::left_out, free_port, process::Process, root, temp_dir},
    fixture::{FORMS, Form, Tunnel, until},
    h2client::{self, H2, channel, empty, frame, full},
    origin::Origin,
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use hyper::body::{Frame, Incoming};
use serde_json::json;
use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
};
use tokio::sync::mpsc::Sender;

const PUT: &str = "/etcdserverpb.KV/Put";
const RANGE: &str = "/etcdserverpb.KV/Range";
const WATCH: &str = "/etcdserverpb.Watch/Watch";

/// A running etcd.
#[derive(Debug)]
struct Etcd {
    addr: SocketAddr,
    _process: Process,
}

impl Etcd {
    /// Starts one, built if need be; `None` where the Kubernetes tests are to be left out.
    async fn start() -> Option<Self> {
        if left_out() {
            return None;
        }
        let built = Command::new(root().join("tests/kube/build.sh"))
            .output()
            .unwrap();
        let why = String::from_utf8_lossy(&built.stderr).into_owned();
        assert!(
            built.status.success(),
            "{why} (PIPEOPS_TEST_SKIP_KUBERNETES=1 leaves this out)"
        );
        let bin = String::from_utf8(built.stdout).unwrap();
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (client, peer) = (
            format!("http://{addr}"),
            format!("http://127.0.0.1:{}", free_port()),
        );
        let mut etcd = Command::new(format!("{}/kubebox", bin.trim()));
        etcd.args([
            "etcd",
            "--unsafe-no-fsync",
            "--log-level",
            "warn",
            "--data-dir",
        ])
        .arg(temp_dir("etcd"));
        etcd.args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ]);
        etcd.args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        etcd.arg("--initial-cluster").arg(format!("default={peer}"));
        let process = Process::spawn("etcd", &mut etcd);
        until("etcd to listen", || {
            TcpStream::connect(addr)
                .map(drop)
                .map_err(|e| format!("{e}\n{}", process.tail()))
        })
        .await;
        Some(Self {
            addr,
            _process: process,
        })
    }

    fn tunnel(&self) -> Tunnel {
        Tunnel::with(&[
            json!({"name": "demo", "local_addr": self.addr.to_string(), "protocol": "grpc"}),
        ])
    }
}

/// A length-delimited field of a protobuf message; all lengths here are below 128.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [
        &[number << 3 | 2, u8::try_from(value.len()).unwrap()],
        value,
    ]
    .concat()
}

/// A gRPC message.
fn message(protobuf: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(u32::try_from(protobuf.len()).unwrap());
    out.put_slice(protobuf);
    out.freeze()
}

fn call(tunnel: &Tunnel, form: Form, method: &str) -> http::request::Builder {
    let request = h2client::request(tunnel, form, "POST", method);
    request
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// A unary call: the response's message and its final metadata.
async fn unary(client: &H2, request: Request<h2client::Payload>) -> (Bytes, HeaderMap) {
    let response = client.ok(request).await;
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let head = response.headers().clone();
    let (body, trailers) = h2client::whole(response.into_body()).await;
    // With no message, the status may stand in the head ("Trailers-Only").
    (body, trailers.unwrap_or(head))
}

fn contains(bytes: &[u8], what: &str) -> bool {
    bytes
        .windows(what.len())
        .any(|window| window == what.as_bytes())
}

async fn put(tunnel: &Tunnel, client: &H2, form: Form, key: &str, value: &str) {
    let put = [field(1, key.as_bytes()), field(2, value.as_bytes())].concat();
    let (_, status) = unary(
        client,
        call(tunnel, form, PUT).body(full(message(&put))).unwrap(),
    )
    .await;
    assert_eq!(status["grpc-status"], "0", "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unary_calls_reach_a_real_grpc_server() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let tunnel = etcd.tunnel();
    for form in FORMS {
        let client = H2::connect(&tunnel, form).await;
        put(&tunnel, &client, form, "greeting", "hello from afar").await;
        let range = message(&field(1, b"greeting"));
        let (body, status) = unary(
            &client,
            call(&tunnel, form, RANGE).body(full(range)).unwrap(),
        )
        .await;
        assert_eq!(status["grpc-status"], "0");
        assert!(contains(&body, "hello from afar"), "{body:?}");
        assert_eq!(
            body.len(),
            5 + usize::try_from((&body[1..5]).get_u32()).unwrap(),
            "one whole message"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_real_grpc_server_keeps_its_status_and_message() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let tunnel = etcd.tunnel();
    let client = H2::connect(&tunnel, Form::Host).await;
    let (_, status) = unary(
        &client,
        call(&tunnel, Form::Host, RANGE)
            .body(full(message(b"")))
            .unwrap(),
    )
    .await;
    assert_eq!(status["grpc-status"], "3", "InvalidArgument: {status:?}");
    assert_eq!(status["grpc-message"], "etcdserver: key is not provided");
    let (_, status) = unary(
        &client,
        call(&tunnel, Form::Host, "/etcdserverpb.KV/Nothing")
            .body(full(message(b"")))
            .unwrap(),
    )
    .await;
    assert_eq!(status["grpc-status"], "12", "Unimplemented: {status:?}");
}

/// A watch on a key, with the sending side of the stream.
async fn watch(
    tunnel: &Tunnel,
    client: &H2,
    key: &str,
) -> (Sender<Frame<Bytes>>, Response<Incoming>) {
    let (parts, body) = channel();
    let request = call(tunnel, Form::Host, WATCH).body(body).unwrap();
    parts.send(create(key)).await.unwrap();
    (parts, client.ok(request).await)
}

fn create(key: &str) -> Frame<Bytes> {
    Frame::data(message(&field(1, &field(1, key.as_bytes()))))
}

/// The next message of a stream.
async fn next(body: &mut Incoming, read: &mut BytesMut) -> Bytes {
    loop {
        if read.len() >= 5 {
            let length = 5 + usize::try_from((&read[1..5]).get_u32()).unwrap();
            if read.len() >= length {
                return read.split_to(length).freeze();
            }
        }
        let data = frame(body)
            .await
            .expect("more of the stream")
            .unwrap()
            .into_data();
        read.extend_from_slice(&data.expect("data"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bidirectional_stream_sees_what_happens_while_it_is_open() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let tunnel = etcd.tunnel();
    let client = H2::connect(&tunnel, Form::Host).await;
    let (parts, response) = watch(&tunnel, &client, "first").await;
    let (mut body, mut read) = (response.into_body(), BytesMut::new());
    assert!(
        !contains(&next(&mut body, &mut read).await, "first"),
        "the watch's creation"
    );
    for n in 0..20 {
        put(&tunnel, &client, Form::Host, "first", &format!("value {n}")).await;
        let event = next(&mut body, &mut read).await;
        assert!(
            contains(&event, "first") && contains(&event, &format!("value {n}")),
            "{event:?}"
        );
    }
    parts.send(create("second")).await.unwrap();
    next(&mut body, &mut read).await;
    put(&tunnel, &client, Form::Host, "second", "other").await;
    assert!(
        contains(&next(&mut body, &mut read).await, "other"),
        "a second watch on the same stream"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_client_half_closes_ends_with_the_servers_status() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let tunnel = etcd.tunnel();
    let client = H2::connect(&tunnel, Form::Host).await;
    let (parts, body) = channel();
    let keep_alive = || Frame::data(message(&[1 << 3, 77])); // a lease that nobody has
    parts.send(keep_alive()).await.unwrap();
    let request = call(&tunnel, Form::Host, "/etcdserverpb.Lease/LeaseKeepAlive")
        .body(body)
        .unwrap();
    let (mut body, mut read) = (client.ok(request).await.into_body(), BytesMut::new());
    next(&mut body, &mut read).await;
    parts.send(keep_alive()).await.unwrap();
    next(&mut body, &mut read).await;
    drop(parts);
    let last = frame(&mut body)
        .await
        .expect("trailers")
        .unwrap()
        .into_trailers()
        .expect("trailers");
    assert_eq!(last["grpc-status"], "0");
    assert!(frame(&mut body).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_and_calls_share_one_connection() {
    let Some(etcd) = Etcd::start().await else {
        return;
    };
    let tunnel = etcd.tunnel();
    let client = H2::connect(&tunnel, Form::Host).await;
    let mut streams = Vec::new();
    for n in 0..50 {
        let (parts, response) = watch(&tunnel, &client, &format!("key{n}")).await;
        let (mut body, mut read) = (response.into_body(), BytesMut::new());
        next(&mut body, &mut read).await;
        streams.push((parts, body, read));
    }
    for n in (0..50).rev() {
        put(
            &tunnel,
            &client,
            Form::Host,
            &format!("key{n}"),
            &format!("<{n}>"),
        )
        .await;
    }
    for (n, (_, body, read)) in streams.iter_mut().enumerate() {
        let event = next(body, read).await;
        assert!(contains(&event, &format!("<{n}>")), "{n}: {event:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_errors_are_grpc_statuses_or_plain_http_errors() {
    let origin = Origin::mirror().await; // no gRPC server at all
    let addr = origin.addr.to_string();
    let tunnel = Tunnel::with(&[json!({"name": "demo", "local_addr": addr, "protocol": "grpc"})]);
    let client = H2::connect(&tunnel, Form::Host).await;
    let request = call(&tunnel, Form::Host, PUT).body(empty()).unwrap();
    let response = client.send(request).await.expect("an answer");
    // A gRPC client maps 502 to UNAVAILABLE (gRPC's HTTP to status mapping).
    assert_eq!(response.status(), 502);
}
