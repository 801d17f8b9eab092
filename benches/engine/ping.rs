//! A small message there and back while other streams move as much as they can.

use std::time::Instant;

use bytes::Bytes;

use crate::bulk::Counter;
use crate::carrier::{Tls, block_on};
use crate::{Rival, h2mux, ours, plain, yamux_crate};

/// Bulk that is moved before the first ping.
const WARM: u64 = 64 << 20;

enum Echo {
    Ours(ours::Echo),
    Tls(Box<plain::Echo>),
    Yamux(yamux_crate::Echo),
    H2(h2mux::Echo),
}

impl Echo {
    async fn new(tls: &Tls, rival: Rival, beside: usize, phases: &(Counter, Counter)) -> Self {
        match rival {
            Rival::Ours => Self::Ours(ours::Echo::new(tls, beside, phases).await),
            Rival::Tls => Self::Tls(Box::new(plain::Echo::new(tls, beside, phases).await)),
            Rival::Yamux => Self::Yamux(yamux_crate::Echo::new(tls, beside, phases).await),
            Rival::H2 => Self::H2(h2mux::Echo::new(tls, beside, phases).await),
        }
    }

    async fn ping(&mut self, message: &Bytes) {
        match self {
            Self::Ours(echo) => echo.ping(message).await,
            Self::Tls(echo) => echo.ping(message).await,
            Self::Yamux(echo) => echo.ping(message).await,
            Self::H2(echo) => echo.ping(message).await,
        }
    }
}

/// p50 and p99 of the pings in ms, and MiB/s of the bulk beside them.
pub fn round(tls: &Tls, rival: Rival, beside: usize, pings: usize) -> Vec<f64> {
    let phases = (Counter::new(beside, WARM), Counter::new(beside, u64::MAX));
    let message = Bytes::from(vec![7; 1_024]);
    let mut times: Vec<f64> = Vec::with_capacity(pings);
    let took = block_on(async {
        let mut echo = Echo::new(tls, rival, beside, &phases).await;
        phases.0.begin();
        phases.0.done().cancelled().await;
        let begun = Instant::now();
        for _ in 0..pings {
            let sent = Instant::now();
            echo.ping(&message).await;
            times.push(sent.elapsed().as_secs_f64() * 1_000.0);
        }
        begun.elapsed().as_secs_f64()
    });
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    vec![
        at(0.5),
        at(0.99),
        phases.1.total() as f64 / f64::from(1 << 20) / took,
    ]
}
