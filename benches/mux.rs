//! The multiplexer without a network: sessions over an in-memory duplex, ours and the `yamux` crate's;
//! the exchange's codec; and loops that copy between sockets.
//!
//! `cargo bench --bench mux`. Neither side's yamux header codec is public, so it is measured as a part of
//! the first. With TLS and processor time: the bench `engine`.
#![allow(missing_docs, reason = "a bench")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a bench"
)]

use std::alloc::System;
use std::future::poll_fn;
use std::hint::black_box;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};
use pipeops_tunnel::metrics::{CarrierKind, Registry, SessionMeters, Tunnel};
use pipeops_tunnel::mux::{Role, Session, Settings};
use pipeops_tunnel::wire::frame::{Decoder, Frame, encode_data};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::{LocalSet, spawn_local};
use tokio_util::compat::TokioAsyncReadCompatExt;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PIECE: usize = 64 * 1024;
const MIB: usize = 16;

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn meters() -> SessionMeters {
    let mut registry = Registry::new("bench");
    let tunnel = Tunnel::new(&mut registry, "any").unwrap();
    tunnel.session(CarrierKind::Tls)
}

/// Says once how often `work` allocates.
fn allocations<T>(what: &str, operations: usize, work: impl FnOnce() -> T) -> T {
    let before = HEAP.stats();
    let result = work();
    let after = HEAP.stats();
    let count = after.allocations + after.reallocations - before.allocations - before.reallocations;
    eprintln!(
        "{what}: {:.2} allocations each",
        count as f64 / operations as f64
    );
    result
}

/// `bytes` on each of `streams`, from the server to the client.
async fn ours(streams: usize, bytes: usize) {
    let (near, far) = duplex(256 * 1024);
    let (client, driver) = Session::new(near, Role::Client, Settings::default(), meters(), |_| {});
    spawn_local(driver);
    let (_server, driver) = Session::new(
        far,
        Role::Server,
        Settings::default(),
        meters(),
        move |stream| {
            spawn_local(async move {
                let (mut out, _inward) = stream.split();
                let piece = Bytes::from(vec![0; PIECE]);
                for _ in 0..bytes / PIECE {
                    let mut piece = piece.clone();
                    poll_fn(|cx| out.poll_send(cx, &mut piece)).await.unwrap();
                }
                out.finish();
                std::future::pending::<()>().await;
            });
        },
    );
    spawn_local(driver);
    let mut readers = Vec::new();
    for _ in 0..streams {
        let (mut out, mut inward) = client.open().await.unwrap().split();
        readers.push(spawn_local(async move {
            poll_fn(|cx| out.poll_send(cx, &mut Bytes::from_static(b"x")))
                .await
                .unwrap();
            let mut sum = 0;
            while let Some(bytes) = poll_fn(|cx| inward.poll_recv(cx)).await.unwrap() {
                sum += bytes.len();
            }
            assert_eq!(sum, bytes);
        }));
    }
    for reader in readers {
        reader.await.unwrap();
    }
}

async fn accept(
    mut connection: yamux::Connection<tokio_util::compat::Compat<DuplexStream>>,
    bytes: usize,
) {
    while let Some(Ok(mut stream)) = poll_fn(|cx| connection.poll_next_inbound(cx)).await {
        spawn_local(async move {
            let piece = vec![0; PIECE];
            for _ in 0..bytes / PIECE {
                stream.write_all(&piece).await.unwrap();
            }
            stream.close().await.unwrap();
            std::future::pending::<()>().await;
        });
    }
}

async fn the_crate(streams: usize, bytes: usize) {
    let (near, far) = duplex(256 * 1024);
    let config = yamux::Config::default;
    let mut client = yamux::Connection::new(near.compat(), config(), yamux::Mode::Client);
    let server = yamux::Connection::new(far.compat(), config(), yamux::Mode::Server);
    spawn_local(accept(server, bytes));
    let mut readers = Vec::new();
    for _ in 0..streams {
        let mut stream = poll_fn(|cx| client.poll_new_outbound(cx)).await.unwrap();
        readers.push(spawn_local(async move {
            stream.write_all(b"x").await.unwrap();
            let mut buffer = vec![0; PIECE];
            let mut sum = 0;
            while let read @ 1.. = stream.read(&mut buffer).await.unwrap() {
                sum += read;
            }
            assert_eq!(sum, bytes);
        }));
    }
    spawn_local(poll_fn(move |cx| match client.poll_next_inbound(cx) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => Poll::Pending,
    }));
    for reader in readers {
        reader.await.unwrap();
    }
}

fn sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("session over a duplex");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes((MIB << 20) as u64));
    for streams in [1, 16] {
        let each = (MIB << 20) / streams;
        let run = |future| LocalSet::new().block_on(&runtime(), future);
        allocations(&format!("a MiB by ours, {streams} streams"), MIB, || {
            run(Box::pin(ours(streams, each)))
        });
        let run_crate = |future| LocalSet::new().block_on(&runtime(), future);
        allocations(
            &format!("a MiB by the crate, {streams} streams"),
            MIB,
            || {
                run_crate(Box::pin(the_crate(streams, each)));
            },
        );
        group.bench_function(BenchmarkId::new("ours", streams), |bencher| {
            bencher.iter(|| LocalSet::new().block_on(&runtime(), ours(streams, each)));
        });
        group.bench_function(BenchmarkId::new("yamux crate", streams), |bencher| {
            bencher.iter(|| LocalSet::new().block_on(&runtime(), the_crate(streams, each)));
        });
    }
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange codec");
    for size in [1_024, PIECE] {
        let body = vec![0; size];
        let mut encoded = BytesMut::new();
        encode_data(&body, &mut encoded);
        Frame::End.encode(&mut encoded).unwrap();
        let encoded = encoded.freeze();
        group.throughput(Throughput::Bytes(size as u64));
        let mut out = BytesMut::with_capacity(2 * PIECE);
        group.bench_function(BenchmarkId::new("encode data", size), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_data(black_box(&body), &mut out);
            });
        });
        let decode = || {
            let mut decoder = Decoder::default();
            decoder.push(encoded.clone());
            while let Some(frame) = decoder.next_frame().unwrap() {
                black_box(frame);
            }
        };
        allocations(&format!("decoding a body of {size}"), 100, || {
            (0..100).for_each(|_| decode())
        });
        group.bench_function(BenchmarkId::new("decode data", size), |bencher| {
            bencher.iter(decode)
        });
    }
    group.finish();
}

async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// Source → copy → sink by two loopback connections; `buffer` 0 is `tokio::io::copy`.
async fn copied(buffer: usize) {
    let (mut source, mut from) = connection().await;
    let (mut to, mut sink) = connection().await;
    let writing = spawn_local(async move {
        let piece = vec![0; PIECE];
        for _ in 0..(MIB << 20) / PIECE {
            source.write_all(&piece).await.unwrap();
        }
    });
    let copying = spawn_local(async move {
        if buffer == 0 {
            tokio::io::copy(&mut from, &mut to).await.unwrap();
            return;
        }
        let mut bytes = BytesMut::with_capacity(buffer);
        while from.read_buf(&mut bytes).await.unwrap() > 0 {
            to.write_all(&bytes).await.unwrap();
            bytes.clear();
        }
    });
    let mut piece = vec![0; PIECE];
    while sink.read(&mut piece).await.unwrap() > 0 {}
    writing.await.unwrap();
    copying.await.unwrap();
}

fn copies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy between sockets");
    group
        .sample_size(10)
        .throughput(Throughput::Bytes((MIB << 20) as u64));
    for (name, buffer) in [
        ("tokio::io::copy", 0),
        ("8 KiB", 8),
        ("64 KiB", 64),
        ("256 KiB", 256),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| LocalSet::new().block_on(&runtime(), copied(buffer * 1_024)));
        });
    }
    group.finish();
}

criterion_group!(benches, sessions, codec, copies);
criterion_main!(benches);
