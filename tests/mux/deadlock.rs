//! Situations in which two sides, or two streams, could wait for each other for ever.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use pipeops_tunnel::mux::{RecvHalf, Role, SendHalf};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::raw::WINDOW;
use crate::rig::{accept, echo, keeping, local, pair, read_to_end, recv, send, session};
use crate::sliced::Sliced;

/// Writes all before it reads anything; how much it then reads.
async fn writes_first(mut out: SendHalf, mut inward: RecvHalf, bytes: usize) -> usize {
    send(&mut out, vec![7; bytes]).await.unwrap();
    out.finish();
    read_to_end(&mut inward).await.len()
}

/// Both applications fill the window of every stream before either reads.
#[test]
fn both_sides_write_a_whole_window_before_they_read() {
    for seed in 0..6 {
        eprintln!("seed {seed}");
        local(async {
            let mut rng = Rng::with_seed(seed);
            let (near, far) = tokio::io::duplex(*rng.choice([64, 4_096].iter()).unwrap());
            let near = Sliced::with(near, rng.fork(), 3_000, 20);
            let far = Sliced::with(far, rng.fork(), 2_000, 20);
            let (client, _client_runs, _) = keeping(near, Role::Client);
            let (_server, _server_runs, opened) = keeping(far, Role::Server);
            let mut tasks = Vec::new();
            for _ in 0..4 {
                let (mut out, inward) = client.open().await.unwrap().split();
                send(&mut out, &b"x"[..]).await.unwrap();
                let (far_out, far_in) = accept(&opened).await;
                let window = WINDOW as usize;
                tasks.push(spawn_local(writes_first(out, inward, window - 1)));
                tasks.push(spawn_local(writes_first(far_out, far_in, window)));
            }
            for task in tasks {
                assert_eq!(task.await.unwrap(), WINDOW as usize);
            }
        });
    }
}

/// Writes until it has to wait, and stays there.
async fn fill(half: &mut SendHalf) {
    let more = async {
        loop {
            send(half, vec![0; 64 * 1024]).await.unwrap();
        }
    };
    timeout(Duration::from_millis(20), more).await.unwrap_err();
}

#[test]
fn streams_whose_readers_stall_hold_up_no_other() {
    local(async {
        let ((client, ..), (_server, _server_runs, opened)) = pair(64 * 1024);
        let mut stalled = Vec::new();
        for _ in 0..40 {
            let (mut out, inward) = client.open().await.unwrap().split();
            fill(&mut out).await;
            stalled.push((out, inward, accept(&opened).await));
        }
        let (mut out, mut inward) = client.open().await.unwrap().split();
        let writer = spawn_local(async move {
            send(&mut out, vec![1; 3_000_000]).await.unwrap();
            out.finish();
            out
        });
        let (far_out, mut far_in) = accept(&opened).await;
        assert_eq!(read_to_end(&mut far_in).await.len(), 3_000_000);
        drop((far_out, far_in));
        assert!(matches!(recv(&mut inward).await, Ok(None) | Err(_)));
        drop(writer.await.unwrap());
        drop(stalled);
    });
}

#[test]
fn closing_wakes_writers_that_wait() {
    local(async {
        let ((client, client_runs, _), (_server, server_runs, opened)) = pair(64 * 1024);
        let mut writers = Vec::new();
        let mut held = Vec::new();
        for _ in 0..20 {
            let (mut out, inward) = client.open().await.unwrap().split();
            send(&mut out, &b"x"[..]).await.unwrap();
            held.push((inward, accept(&opened).await));
            writers.push(spawn_local(async move {
                send(&mut out, Bytes::from(vec![0; 10_000_000])).await
            }));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.close();
        client.closed().await;
        for writer in writers {
            writer.await.unwrap().unwrap_err();
        }
        client_runs.await.unwrap().unwrap();
        server_runs.await.unwrap().unwrap();
        assert_eq!(
            client.open().await.unwrap_err(),
            pipeops_tunnel::mux::OpenError::Closed
        );
    });
}

/// A stream that writes for ever keeps no session from its end.
#[test]
fn closing_ends_a_session_whose_streams_are_busy() {
    local(async {
        let ((client, client_runs, _), (_server, _server_runs, opened)) = pair(64 * 1024);
        let (mut out, inward) = client.open().await.unwrap().split();
        let writer =
            spawn_local(async move { while send(&mut out, vec![0; 10_000]).await.is_ok() {} });
        let (far_out, mut far_in) = accept(&opened).await;
        let reader = spawn_local(async move { while let Ok(Some(_)) = recv(&mut far_in).await {} });
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.close();
        client_runs.await.unwrap().unwrap();
        writer.await.unwrap();
        reader.await.unwrap();
        drop((inward, far_out));
    });
}

/// What was handed over before the close arrives, and the end after it.
#[test]
fn closing_sends_what_was_handed_over() {
    local(async {
        let ((client, client_runs, _), (_server, server_runs, opened)) = pair(1_000);
        let (mut out, _inward) = client.open().await.unwrap().split();
        send(&mut out, vec![5; 100_000]).await.unwrap();
        client.close();
        let (_far_out, mut far_in) = accept(&opened).await;
        assert_eq!(read_to_end(&mut far_in).await.len(), 100_000);
        client_runs.await.unwrap().unwrap();
        server_runs.await.unwrap().unwrap();
    });
}

/// Echo on every stream in both directions over a carrier that holds next to nothing.
#[test]
fn both_sides_echo_over_a_narrow_carrier() {
    local(async {
        let (near, far) = tokio::io::duplex(16);
        let serve = |stream| drop(spawn_local(echo(stream)));
        let (client, _client_runs) = session(near, Role::Client, serve);
        let (server, _server_runs) = session(far, Role::Server, serve);
        let mut tasks = Vec::new();
        for end in [Rc::new(client), Rc::new(server)] {
            for _ in 0..10 {
                let (mut out, mut inward) = end.open().await.unwrap().split();
                let end = Rc::clone(&end);
                tasks.push(spawn_local(async move {
                    let writer = async {
                        send(&mut out, vec![3; 40_000]).await.unwrap();
                        out.finish();
                    };
                    let ((), back) =
                        futures_util::future::join(writer, read_to_end(&mut inward)).await;
                    assert_eq!(back.len(), 40_000);
                    drop(end);
                }));
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}
