use super::*;

const PACKET: u64 = 1_400;
const ROUND_TRIP: Duration = Duration::from_millis(100);

struct Path {
    choice: Choice,
    now: Instant,
    sent: u64,
}

impl Path {
    fn new() -> Self {
        #[expect(clippy::disallowed_types, reason = "quinn's interfaces take this one")]
        let now = std::time::Instant::now();
        let used = Arc::new(CubicConfig::default()).build(now, 1_400);
        let seen = Seen {
            round_trip: ROUND_TRIP,
            shortest: ROUND_TRIP,
            ..Seen::default()
        };
        let choice = Choice {
            used,
            algorithm: Algorithm::Cubic,
            mtu: 1_400,
            seen,
        };
        Self {
            choice,
            now,
            sent: 0,
        }
    }

    /// One round trip with this many packets, of which these are lost.
    fn round(&mut self, packets: u64, lost: u64) {
        let sent = self.now;
        for _ in 0..packets {
            self.sent += 1;
            self.choice.on_sent(sent, PACKET, self.sent);
        }
        self.now += ROUND_TRIP;
        if lost > 0 {
            self.choice
                .on_congestion_event(self.now, sent, false, lost * PACKET);
        }
        self.choice
            .on_end_acks(self.now, 0, false, Some(self.sent - 1));
        self.choice.seen.round_trip = self.choice.seen.round_trip.max(ROUND_TRIP);
        self.choice.seen.shortest = ROUND_TRIP;
        // The next is sent after the loss was seen.
        self.now += Duration::from_millis(1);
    }

    fn rounds(&mut self, count: u64, packets: u64, lost: u64) -> Algorithm {
        (0..count).for_each(|_| self.round(packets, lost));
        self.choice.algorithm
    }
}

#[test]
fn loss_again_and_again_on_an_idle_path_asks_for_bbr() {
    let mut path = Path::new();
    assert_eq!(path.rounds(3, 100, 1), Algorithm::Cubic);
    assert_eq!(path.rounds(1, 100, 1), Algorithm::Bbr);
    assert!(path.choice.window() >= path.choice.initial_window());
    // One that is as lossy as before keeps it.
    assert_eq!(path.rounds(1_000, 100, 1), Algorithm::Bbr);
}

#[test]
fn a_start_that_overshoots_does_not() {
    let mut path = Path::new();
    path.round(2_000, 900);
    assert_eq!(path.rounds(500, 1_000, 0), Algorithm::Cubic);
}

#[test]
fn a_queue_that_runs_over_does_not() {
    let mut path = Path::new();
    path.choice.seen.round_trip = ROUND_TRIP * 2;
    assert_eq!(path.rounds(100, 500, 5), Algorithm::Cubic);
}

#[test]
fn a_loss_in_a_thousand_does_too() {
    let mut path = Path::new();
    for _ in 0..4 {
        path.rounds(9, 100, 0);
        path.round(100, 1);
    }
    assert_eq!(path.choice.algorithm, Algorithm::Bbr);
}

#[test]
fn a_loss_now_and_then_does_not() {
    let mut path = Path::new();
    for _ in 0..100 {
        path.rounds(9, 2_000, 0);
        path.round(2_000, 1);
    }
    assert_eq!(path.choice.algorithm, Algorithm::Cubic);
}

#[test]
fn a_path_that_is_mended_gets_cubic_back() {
    let mut path = Path::new();
    assert_eq!(path.rounds(20, 100, 1), Algorithm::Bbr);
    assert_eq!(path.rounds(400, 100, 0), Algorithm::Bbr, "too early to say");
    assert_eq!(path.rounds(800, 100, 0), Algorithm::Cubic);
}

#[test]
fn no_more_is_on_its_way_than_a_receiver_can_put_in_order() {
    let mut path = Path::new();
    let mut wide = CubicConfig::default();
    wide.initial_window(100 * 1024 * 1024);
    path.choice.used = Arc::new(wide).build(path.now, 1_400);
    // quinn's `MAX_CHUNKS`; every second packet lost is as many gaps as there can be.
    assert!(path.choice.window() / PACKET / 2 <= 1_024);
    path.choice.on_mtu_update(1_200);
    assert!(path.choice.window() / 1_200 / 2 <= 1_024);
}
