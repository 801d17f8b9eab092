//! A sender that never rests, a path with a length and a rate, and a reader that takes all at once.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::mux::yamux::batch::{Batch, SLICES};
use crate::mux::yamux::session::Role;
use crate::mux::yamux::settings::Settings;

const STEP: Duration = Duration::from_micros(50);

/// Bytes on their way, and when they arrive.
#[derive(Default)]
struct Way(VecDeque<(Instant, Bytes)>);

impl Way {
    /// Takes what a core has for the carrier while `allowed` is above zero; a batch may bring it below.
    fn take(&mut self, core: &mut Core, now: Instant, arrives: Instant, allowed: &mut i64) {
        while *allowed > 0 && core.has_output() {
            let mut batch = Batch::default();
            core.fill(&mut batch, now);
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = batch.slices(&mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            *allowed -= i64::try_from(bytes.len()).unwrap();
            self.0.push_back((arrives, bytes.into()));
        }
    }

    fn arrive(&mut self, core: &mut Core, now: Instant) {
        while let Some((_, bytes)) = self.0.pop_front_if(|(at, _)| *at <= now) {
            core.receive(bytes, now).unwrap();
        }
    }
}

/// The window that a stream has come to after two seconds, and the share of the path's rate that it
/// had in the half second after.
fn settled(round_trip: Duration, bytes_a_second: u32) -> (u32, f64) {
    let mut now = Instant::now();
    let settings = Settings {
        receive_window: 64 * 1024,
        send_window: 64 * 1024,
        ..Settings::default()
    };
    let mut sender = Core::new(Role::Client, settings.clone(), now);
    let mut reader = Core::new(Role::Server, settings, now);
    let (mut there, mut back) = (Way::default(), Way::default());
    let out = sender.open().unwrap();
    let (mut inward, mut received, mut before) = (None, 0, 0);
    let mut data = Bytes::new();
    let a_step = i64::from(bytes_a_second) * i64::try_from(STEP.as_micros()).unwrap() / 1_000_000;
    let (start, mut allowed) = (now, 0);
    while now - start < Duration::from_millis(2_500) {
        allowed = (allowed + a_step).min(a_step);
        if data.is_empty() {
            data = Bytes::from_static(&[7; 64 * 1024]);
        }
        sender.grant();
        sender.write(out, &mut data, Waker::noop());
        there.take(&mut sender, now, now + round_trip / 2, &mut allowed);
        back.take(
            &mut reader,
            now,
            now + round_trip / 2,
            &mut i64::MAX.clone(),
        );
        there.arrive(&mut reader, now);
        back.arrive(&mut sender, now);
        inward = inward.or_else(|| reader.accept());
        while let Some(key) = inward
            && let super::super::Read::Bytes(bytes) = reader.read(key, usize::MAX, Waker::noop())
        {
            received += bytes.len();
        }
        if now - start < Duration::from_secs(2) {
            before = received;
        }
        now += STEP;
    }
    let window = reader.streams.get(inward.unwrap()).unwrap().target;
    let half_a_second = u32::try_from(received - before).unwrap();
    (
        window,
        f64::from(half_a_second) / f64::from(bytes_a_second / 2),
    )
}

#[test]
fn a_window_fills_a_long_path() {
    let (window, share) = settled(Duration::from_millis(100), 25_000_000);
    assert!((5_000_000..=16 << 20).contains(&window), "{window} bytes");
    assert!(share > 0.95, "{share} of the path");
}

#[test]
fn a_window_stays_small_on_a_short_path() {
    let (window, share) = settled(Duration::from_micros(200), 150_000_000);
    assert!(window <= 128 * 1024, "{window} bytes");
    assert!(share > 0.95, "{share} of the path");
}

#[test]
fn a_round_trip_is_the_shortest_of_a_minute() {
    let mut round_trip = RoundTrip::new();
    for (second, sample) in [(0, 900), (1, 300), (2, 5_000), (31, 2_000), (50, 1_500)] {
        round_trip.want();
        let sent = second * 1_000_000;
        let number = round_trip.begin(sent).unwrap();
        round_trip.end(number.wrapping_add(1), sent + 1);
        round_trip.end(number, sent + sample);
    }
    assert_eq!(round_trip.shortest(), Some(300));
    round_trip.want();
    let number = round_trip.begin(70_000_000).unwrap();
    round_trip.end(number, 70_009_000);
    assert_eq!(round_trip.shortest(), Some(1_500));
}

#[test]
fn a_first_ping_that_met_a_busy_peer_is_soon_corrected() {
    let mut round_trip = RoundTrip::new();
    let mut now = 0;
    for took in [8_000, 300, 300, 300] {
        assert!(round_trip.is_stale(now), "after {now} µs");
        round_trip.want();
        let number = round_trip.begin(now).unwrap();
        now += took;
        round_trip.end(number, now);
    }
    assert_eq!(round_trip.shortest(), Some(300));
    assert!(!round_trip.is_stale(now + 1_000_000));
    assert!(round_trip.is_stale(now + 3_000_000));
}
