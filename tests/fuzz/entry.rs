//! What a fuzzer calls: each takes bytes, and panics when something that must always hold does not.
//! Run by `tests/fuzz/main.rs` over the corpus and mutations of it, and by `fuzz/` for hours.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use pipeops_tunnel::http::authority::Authority;
use pipeops_tunnel::http::path::TunnelPath;
use pipeops_tunnel::metrics::{CarrierKind, Registry, SessionMeters, Tunnel};
use pipeops_tunnel::mux::{Role, Session, Settings, Stream};
use pipeops_tunnel::wire::frame::Decoder;
use pipeops_tunnel::wire::limits::MAX_PEER_STREAMS;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::{LocalSet, spawn_local};

fn meters() -> SessionMeters {
    let mut registry = Registry::new("fuzz");
    let tunnel = Tunnel::new(&mut registry, "any").unwrap();
    tunnel.session(CarrierKind::Tls)
}

/// Echoes, as what reads and writes at once.
async fn echo(stream: Stream) {
    let (mut out, mut inward) = stream.split();
    while let Ok(Some(mut bytes)) = poll_fn(|cx| inward.poll_recv(cx)).await {
        if poll_fn(|cx| out.poll_send(cx, &mut bytes)).await.is_err() {
            return;
        }
    }
    out.finish();
}

/// By a paused clock, so that a session that waits dies of silence at once.
fn paused<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, future)
}

/// Writes `input` in pieces and then closes; what comes back is read and thrown away.
async fn feed(io: DuplexStream, input: &[u8], piece: usize) {
    let (mut read, mut write) = tokio::io::split(io);
    let reader = spawn_local(async move {
        let mut sink = Vec::new();
        while let Ok(1..) = read.read_buf(&mut sink).await {
            sink.clear();
        }
    });
    for piece in input.chunks(piece) {
        if write.write_all(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    drop(write.shutdown().await);
    reader.await.unwrap();
}

/// Bytes of the carrier, as either role, cut as the first byte says. The session ends, and no stream is
/// left of it.
pub fn mux(input: &[u8]) {
    let (first, input) = input.split_first().unwrap_or((&0, input));
    let role = if first & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let piece = [1, 5, 12, 4_096][usize::from(first >> 1 & 3)];
    paused(async {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (session, driver) = Session::new(near, role, Settings::default(), meters(), |stream| {
            spawn_local(echo(stream));
        });
        let driver = spawn_local(driver);
        if role == Role::Client {
            let own = session.open().await.unwrap();
            spawn_local(echo(own));
        }
        let fed = feed(far, input, piece);
        tokio::time::timeout(Duration::from_secs(3_600), fed)
            .await
            .expect("a session that never ends");
        assert!(session.live_streams() <= MAX_PEER_STREAMS + 1);
        // However it ended: with an error or without one.
        drop(driver.await.unwrap());
        session.closed().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(session.live_streams(), 0, "streams are left");
    });
}

/// Frames of an exchange: as many pieces as bytes, or one, mean the same.
pub fn exchange(input: &[u8]) {
    let decode = |piece: usize| {
        let mut decoder = Decoder::default();
        let (mut frames, mut data) = (Vec::new(), Vec::new());
        for piece in input.chunks(piece) {
            decoder.push(Bytes::copy_from_slice(piece));
            loop {
                match decoder.next_frame() {
                    Ok(Some(pipeops_tunnel::wire::frame::Frame::Data(bytes))) => data.extend(bytes),
                    Ok(Some(frame)) => frames.push(format!("{frame:?} after {}", data.len())),
                    Ok(None) => break,
                    Err(error) => return (frames, data, Some(error)),
                }
            }
        }
        (frames, data, None)
    };
    assert_eq!(decode(1), decode(usize::MAX));
}

/// A path's parts are the path, and a host is one that it says it is.
pub fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Ok(path) = TunnelPath::of_host(text) {
        assert_eq!(format!("{}{}", path.prefix, path.rest), text);
        assert!(path.target().starts_with('/'));
    }
    if let Ok((cluster, path)) = TunnelPath::of_cluster(text) {
        assert_eq!(format!("{}{}", path.prefix, path.rest), text);
        assert!(pipeops_tunnel::http::path::is_name(cluster));
    }
    if let Ok(authority) = Authority::parse(text) {
        assert!(!authority.host().is_empty());
    }
}

/// A configuration file: told what is wrong with it, and where, or taken.
pub fn config(input: &[u8]) {
    use pipeops_tunnel::agent::{args::AgentArgs, config::AgentConfig};
    use pipeops_tunnel::config::Inputs;
    use pipeops_tunnel::gateway::{args::GatewayArgs, config::GatewayConfig};

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), input).unwrap();
    let arguments = |program| [program, "--config", file.path().to_str().unwrap()];
    let agent = AgentArgs::command().get_matches_from(arguments("pipeops-agent"));
    match Inputs::new::<AgentConfig>(&agent, []).load::<AgentConfig>() {
        Ok(loaded) => drop(loaded.validate()),
        Err(problems) => assert!(!problems.list().is_empty() && !problems.to_string().is_empty()),
    }
    let gateway = GatewayArgs::command().get_matches_from(arguments("pipeops-gateway"));
    match Inputs::new::<GatewayConfig>(&gateway, []).load::<GatewayConfig>() {
        Ok(loaded) => drop(loaded.validate()),
        Err(problems) => assert!(!problems.list().is_empty() && !problems.to_string().is_empty()),
    }
}
