//! What an agent has to say on its control channel, at the rate that the gateway takes it.
//!
//! Heartbeats and the drain do not come here: they wait for nothing. Everything else does, in
//! order; a full queue makes its producers wait, and nothing is dropped.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::http::pace::{Pace, per_minute};
use crate::wire::control::Message;
use crate::wire::limits::{AGENT_BURST, AGENT_MESSAGES, AGENT_MESSAGES_MIN, CONTROL_QUEUE};

/// The longest that a gateway's word is taken for: beyond it, trying is better than waiting.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// The queue, and how fast it empties.
#[derive(Debug)]
pub(super) struct Outbox {
    sender: mpsc::Sender<Message>,
    queue: mpsc::Receiver<Message>,
    /// The first of the queue, which waits for its turn.
    first: Option<Message>,
    rate: NonZeroU32,
    pace: Pace,
    held_until: Instant,
}

impl Outbox {
    pub(super) fn new() -> Self {
        let (sender, queue) = mpsc::channel(CONTROL_QUEUE);
        Self {
            sender,
            queue,
            first: None,
            rate: AGENT_MESSAGES,
            pace: Pace::new(per_minute(AGENT_MESSAGES, AGENT_BURST)),
            held_until: Instant::now(),
        }
    }

    /// For those who have something to say.
    pub(super) fn sender(&self) -> mpsc::Sender<Message> {
        self.sender.clone()
    }

    /// The next message, once it may be sent. Safe to drop: none is lost.
    pub(super) async fn next(&mut self) -> Message {
        if self.first.is_none() {
            self.first = self.queue.recv().await;
        }
        sleep_until(self.held_until).await;
        while let Err(wait) = self.pace.check() {
            sleep(wait).await;
        }
        match self.first.take() {
            Some(message) => message,
            // The queue has a sender: the outbox itself.
            None => std::future::pending().await,
        }
    }

    /// The gateway takes less than was thought: nothing for so long, and half as much from then on.
    pub(super) fn slow_down(&mut self, hold: Duration) {
        self.held_until = Instant::now() + hold.min(LONGEST_HOLD);
        let half = NonZeroU32::new(self.rate.get() / 2).unwrap_or(NonZeroU32::MIN);
        self.rate = half.max(AGENT_MESSAGES_MIN);
        self.pace = Pace::new(per_minute(self.rate, NonZeroU32::MIN));
    }

    /// Messages a minute that are sent now.
    pub(super) fn rate(&self) -> NonZeroU32 {
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::CarrierFailed;
    use proptest::prelude::*;
    use tokio::time::timeout;

    fn message(n: usize) -> Message {
        Message::CarrierFailed(CarrierFailed {
            reason: n.to_string(),
        })
    }

    /// Sends `count` messages with these pauses between; when each left, and that all did in order.
    async fn drive(pauses: Vec<u64>) -> Vec<Duration> {
        let mut outbox = Outbox::new();
        let (sender, start, count) = (outbox.sender(), Instant::now(), pauses.len());
        let producer = tokio::spawn(async move {
            for (n, pause) in pauses.into_iter().enumerate() {
                sleep(Duration::from_millis(pause)).await;
                sender.send(message(n)).await.unwrap();
            }
        });
        let mut left = Vec::new();
        while left.len() < count {
            // As in the channel's loop, where other things come first and drop what waits here.
            if let Ok(sent) = timeout(Duration::from_millis(25), outbox.next()).await {
                assert_eq!(sent, message(left.len()));
                left.push(start.elapsed());
            }
        }
        producer.await.unwrap();
        left
    }

    fn paused<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn everything_is_sent_in_order_and_never_too_fast(
            pauses in prop::collection::vec(prop_oneof![4 => Just(0), 2 => 0..200u64, 1 => 0..5_000u64], 1..300)
        ) {
            let left = paused(drive(pauses));
            for (from, begin) in left.iter().enumerate() {
                for (to, end) in left.iter().enumerate().skip(from) {
                    let time = (*end - *begin).as_secs_f64();
                    let allowed = f64::from(AGENT_BURST.get()) + time * f64::from(AGENT_MESSAGES.get()) / 60.0;
                    prop_assert!((to - from + 1) as f64 <= allowed + 0.1, "{from}..={to}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_makes_producers_wait() {
        let outbox = Outbox::new();
        for n in 0..CONTROL_QUEUE {
            outbox.sender().try_send(message(n)).unwrap();
        }
        let sender = outbox.sender();
        let more = timeout(Duration::from_secs(60), sender.send(message(0))).await;
        assert!(more.is_err(), "it waits");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_holds_the_queue_and_halves_the_rate() {
        let mut outbox = Outbox::new();
        outbox.slow_down(Duration::from_secs(7));
        assert_eq!(outbox.rate().get(), 450);
        let start = Instant::now();
        for n in 0..3 {
            outbox.sender().try_send(message(n)).unwrap();
        }
        outbox.next().await;
        assert!(start.elapsed() >= Duration::from_secs(7));
        let first = start.elapsed();
        outbox.next().await;
        outbox.next().await;
        let each = Duration::from_millis(60_000 / 450);
        assert!(start.elapsed() - first >= 2 * each);
        for _ in 0..10 {
            outbox.slow_down(Duration::MAX);
        }
        assert_eq!(outbox.rate(), AGENT_MESSAGES_MIN);
        let start = Instant::now();
        outbox.sender().try_send(message(0)).unwrap();
        outbox.next().await;
        assert!(start.elapsed() <= LONGEST_HOLD + Duration::from_secs(1));
    }
}
