//! Keep-alive and dead peers, by a clock that is paused.

use std::time::Duration;

use pipeops_tunnel::mux::Role;
use tokio::time::{Instant, sleep, timeout};

use crate::raw::{ACK, PING, Peer, SYN, data, header};
use crate::rig::{accept, keeping, paused, recv};

/// Silence after which a peer counts as gone.
const DEAD: Duration = Duration::from_secs(10);

#[test]
fn a_silent_peer_is_asked_after_five_seconds_and_dead_after_ten() {
    paused(async {
        let (mut peer, carrier) = Peer::new();
        let (session, running, _) = keeping(carrier, Role::Server);
        // The first measures the path, at once.
        let first = peer.read_until(|frame| frame.is(PING, SYN)).await;
        let number = first.last().expect("a first ping").length;
        let begun = Instant::now();
        assert!(peer.write(header(PING, ACK, 0, number)).await);
        let asked = peer.read_until(|frame| frame.is(PING, SYN)).await;
        assert!(
            asked.last().is_some_and(|frame| frame.is(PING, SYN)),
            "no ping in {asked:?}"
        );
        let after = begun.elapsed();
        assert!((5..=6).contains(&after.as_secs()), "pinged after {after:?}");
        session.closed().await;
        let after = begun.elapsed();
        assert!(
            (10..=12).contains(&after.as_secs()),
            "gave up after {after:?}"
        );
        running.await.unwrap().unwrap_err();
    });
}

#[test]
fn a_peer_that_answers_pings_lives_for_ever() {
    paused(async {
        let (mut peer, carrier) = Peer::new();
        let (session, _running, _) = keeping(carrier, Role::Client);
        let mut pings = 0;
        while pings < 100 {
            let frame = peer.next().await.unwrap();
            if frame.is(PING, SYN) {
                pings += 1;
                assert!(peer.write(header(PING, ACK, 0, frame.length)).await);
            }
        }
        assert!(!session.is_closed());
    });
}

/// Two minutes for one frame, byte by byte, and no answer to any ping: bytes are a sign of life.
#[test]
fn a_slow_peer_that_still_sends_is_no_dead_one() {
    paused(async {
        let (mut peer, carrier) = Peer::new();
        let (session, _running, opened) = keeping(carrier, Role::Server);
        for byte in data(SYN, 1, &[9; 28]) {
            assert!(peer.write([byte]).await);
            sleep(Duration::from_secs(3)).await;
            assert!(!session.is_closed(), "given up");
        }
        let (_out, mut inward) = accept(&opened).await;
        let mut read = Vec::new();
        while read.len() < 28 {
            read.extend(recv(&mut inward).await.unwrap().unwrap());
        }
        assert_eq!(read, [9; 28]);
    });
}

#[test]
fn half_a_header_and_then_silence_ends_the_session() {
    paused(async {
        let (mut peer, carrier) = Peer::new();
        let (session, running, _) = keeping(carrier, Role::Server);
        assert!(peer.write([0, 0, 0]).await);
        timeout(DEAD * 2, session.closed())
            .await
            .expect("the session goes on");
        running.await.unwrap().unwrap_err();
    });
}

/// A carrier that takes nothing is as dead as one that gives nothing.
#[test]
fn a_carrier_that_takes_nothing_ends_the_session() {
    paused(async {
        let (_peer, carrier) = Peer::over(8);
        let (session, running, _) = keeping(carrier, Role::Client);
        timeout(DEAD * 2, session.closed())
            .await
            .expect("the session goes on");
        running.await.unwrap().unwrap_err();
    });
}

/// Pings are no wake-ups of an idle process's own making: one each five seconds and no more.
#[test]
fn an_idle_session_sends_nothing_but_keep_alives() {
    paused(async {
        let (mut peer, carrier) = Peer::new();
        let (_session, _running, _) = keeping(carrier, Role::Server);
        let begun = Instant::now();
        let mut frames = 0;
        while begun.elapsed() < Duration::from_secs(60) {
            let Ok(Some(frame)) = timeout(Duration::from_secs(6), peer.next()).await else {
                panic!("no keep-alive");
            };
            frames += 1;
            assert!(frame.is(PING, SYN), "{frame:?}");
            assert!(peer.write(header(PING, ACK, 0, frame.length)).await);
        }
        assert!(frames <= 14, "{frames} frames in a minute");
    });
}
