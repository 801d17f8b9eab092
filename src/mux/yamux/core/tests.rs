//! Two engines that talk to each other, and a model of what their applications did: any interleaving of
//! opens, writes, reads, ends and cuts of the carrier loses, doubles and reorders nothing, and at the
//! end both sides agree and hold nothing.

use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::batch::{Batch, SLICES};
use super::*;

/// What happens next. Streams are picked among those that a side holds, modulo their number.
#[derive(Debug, Clone)]
enum Action {
    Open,
    Write(usize, usize),
    Read(usize, usize),
    Finish(usize),
    DropSender(usize),
    DropReceiver(usize),
    /// The engine fills a batch for the carrier.
    Fill,
    /// So many bytes of the carrier arrive.
    Carry(usize),
    Wait(u64),
}

fn action() -> impl Strategy<Value = (bool, Action)> {
    let which = || 0..8usize;
    let length =
        || prop_oneof![6 => 1..3_000usize, 3 => 3_000..70_000usize, 1 => 200_000..600_000usize];
    let action = prop_oneof![
        2 => Just(Action::Open),
        6 => (which(), length()).prop_map(|(stream, bytes)| Action::Write(stream, bytes)),
        6 => (which(), length()).prop_map(|(stream, bytes)| Action::Read(stream, bytes)),
        1 => which().prop_map(Action::Finish),
        1 => which().prop_map(Action::DropSender),
        1 => which().prop_map(Action::DropReceiver),
        6 => Just(Action::Fill),
        6 => prop_oneof![1..40usize, length()].prop_map(Action::Carry),
        1 => (0..20_000u64).prop_map(Action::Wait),
    ];
    (any::<bool>(), action)
}

/// What an application did with a stream.
#[derive(Debug, Default)]
struct Story {
    sent: u64,
    received: u64,
    finished: bool,
    sender_dropped: bool,
    receiver_dropped: bool,
    /// Its reader was told that the stream was cut.
    cut: bool,
    ended: bool,
}

struct Side {
    core: Core,
    held: Vec<Key>,
    /// By the stream's id.
    stories: HashMap<u32, Story>,
    /// What it has written to the carrier and the other has not got.
    wire: VecDeque<u8>,
    budget: Arc<Budget>,
}

impl Side {
    fn new(role: Role, now: Instant) -> Self {
        let settings = Settings::default();
        let budget = Arc::clone(&settings.budget);
        Self {
            core: Core::new(role, settings, now),
            held: Vec::new(),
            stories: HashMap::new(),
            wire: VecDeque::new(),
            budget,
        }
    }

    fn id(&self, key: Key) -> u32 {
        self.core.streams.get(key).unwrap().id
    }

    fn hold(&mut self, key: Key) {
        self.held.push(key);
        self.stories.insert(self.id(key), Story::default());
    }

    fn story(&mut self, key: Key) -> &mut Story {
        let id = self.id(key);
        self.stories.get_mut(&id).unwrap()
    }

    fn pick(&self, number: usize) -> Option<Key> {
        let index = number.checked_rem(self.held.len())?;
        Some(self.held[index])
    }

    fn write(&mut self, key: Key, bytes: usize) {
        let salt = self.salt();
        let id = self.id(key);
        let story = self.story(key);
        if story.sender_dropped || story.finished {
            return;
        }
        let mut data = content(id, salt, story.sent, bytes);
        self.core.write(key, &mut data, Waker::noop());
        self.story(key).sent += (bytes - data.len()) as u64;
    }

    /// Which direction of a stream this side sends.
    fn salt(&self) -> u64 {
        u64::from(self.core.role == Role::Server)
    }

    fn read(&mut self, key: Key, limit: usize) -> bool {
        let salt = 1 - self.salt();
        let id = self.id(key);
        if self.story(key).receiver_dropped {
            return false;
        }
        match self.core.read(key, limit, Waker::noop()) {
            Read::Bytes(bytes) => {
                let story = self.story(key);
                let right = content(id, salt, story.received, bytes.len());
                assert!(
                    right == bytes,
                    "stream {id}: other bytes at {}",
                    story.received
                );
                story.received += bytes.len() as u64;
                return true;
            }
            Read::End => self.story(key).ended = true,
            Read::Reset => self.story(key).cut = true,
            Read::Blocked => {}
        }
        false
    }

    fn drop_sender(&mut self, key: Key) {
        if self.held.contains(&key) && !std::mem::replace(&mut self.story(key).sender_dropped, true)
        {
            self.let_go(key);
            self.core.drop_sender(key);
        }
    }

    fn drop_receiver(&mut self, key: Key) {
        if self.held.contains(&key)
            && !std::mem::replace(&mut self.story(key).receiver_dropped, true)
        {
            self.let_go(key);
            self.core.drop_receiver(key);
        }
    }

    /// Forgets a key whose last handle is about to go.
    fn let_go(&mut self, key: Key) {
        let story = self.story(key);
        if story.sender_dropped && story.receiver_dropped {
            self.held.retain(|held| *held != key);
        }
    }

    fn fill(&mut self, now: Instant) {
        let mut batch = Batch::default();
        self.core.begin_run();
        self.core.fill(&mut batch, now);
        while !batch.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = batch.slices(&mut slices);
            let bytes: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect();
            let written = bytes.len();
            self.wire.extend(bytes);
            batch.advance(written);
        }
        self.core.grant();
        drop(self.core.take_wakes());
    }

    fn receive(&mut self, bytes: Bytes, now: Instant) {
        self.core.receive(bytes, now).unwrap();
        while let Some(key) = self.core.accept() {
            self.hold(key);
        }
    }
}

/// What a stream's direction has at an offset.
fn content(id: u32, salt: u64, offset: u64, length: usize) -> Bytes {
    let start = u64::from(id) * 31 + salt * 17 + offset;
    (start..start + length as u64)
        .map(|at| (at % 251) as u8)
        .collect()
}

struct Pair {
    sides: [Side; 2],
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let sides = [Side::new(Role::Client, now), Side::new(Role::Server, now)];
        Self { sides, now }
    }

    fn carry(&mut self, from: usize, bytes: usize) {
        let wire = &mut self.sides[from].wire;
        let bytes: Bytes = wire.drain(..bytes.min(wire.len())).collect();
        if !bytes.is_empty() {
            self.sides[1 - from].receive(bytes, self.now);
        }
    }

    fn act(&mut self, side: usize, action: &Action) {
        let now = self.now;
        let this = &mut self.sides[side];
        match *action {
            Action::Open => {
                if let Ok(key) = this.core.open() {
                    this.hold(key);
                }
            }
            Action::Fill => this.fill(now),
            Action::Carry(bytes) => self.carry(side, bytes),
            Action::Wait(millis) => self.now += Duration::from_millis(millis),
            Action::Write(number, bytes) => {
                if let Some(key) = this.pick(number) {
                    this.write(key, bytes);
                }
            }
            Action::Read(number, bytes) => {
                if let Some(key) = this.pick(number) {
                    this.read(key, bytes);
                }
            }
            Action::Finish(number) => {
                if let Some(key) = this
                    .pick(number)
                    .filter(|key| !this.story(*key).sender_dropped)
                {
                    this.story(key).finished = true;
                    this.core.finish(key);
                }
            }
            Action::DropSender(number) => {
                if let Some(key) = this.pick(number) {
                    this.drop_sender(key);
                }
            }
            Action::DropReceiver(number) => {
                if let Some(key) = this.pick(number) {
                    this.drop_receiver(key);
                }
            }
        }
    }

    /// Both sides read everything, and the carrier moves everything, until nothing changes.
    fn rest(&mut self) {
        loop {
            let mut moved = false;
            for side in 0..2 {
                self.sides[side].fill(self.now);
                moved |= !self.sides[side].wire.is_empty();
                self.carry(side, usize::MAX);
                for key in self.sides[side].held.clone() {
                    while self.sides[side].read(key, usize::MAX) {
                        moved = true;
                    }
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// What one side sent is what the other got, unless somebody gave the stream up.
    fn agree(&self) {
        for (from, to) in [(0, 1), (1, 0)] {
            let (from, to) = (&self.sides[from], &self.sides[to]);
            for (id, sent) in &from.stories {
                let Some(got) = to.stories.get(id) else {
                    // Nothing was ever said on it.
                    assert!(sent.sent == 0 || sent.cut, "stream {id} never arrived");
                    continue;
                };
                assert!(got.received <= sent.sent, "stream {id}: more than was sent");
                let given_up = got.receiver_dropped
                    || got.cut && !(sent.sender_dropped && sent.receiver_dropped);
                if !given_up {
                    assert_eq!(got.received, sent.sent, "stream {id}: {sent:?} {got:?}");
                    assert!(
                        got.ended || got.cut || !sent.finished,
                        "stream {id} does not end"
                    );
                }
            }
        }
    }

    /// Each side's credit is the other's window: none was lost or made up on the way.
    fn credit_is_whole(&self) {
        for (from, to) in [(0, 1), (1, 0)] {
            let (from, to) = (&self.sides[from], &self.sides[to]);
            for key in &from.held {
                let sender = from.core.streams.get(*key).unwrap();
                let Some(receiver) = to.core.streams.find(sender.id) else {
                    continue;
                };
                let receiver = to.core.streams.get(receiver).unwrap();
                if !sender.is.reset && !receiver.is.reset {
                    assert_eq!(sender.credit, receiver.window, "stream {}", sender.id);
                }
            }
        }
    }

    fn nothing_is_left(&mut self) {
        for side in &mut self.sides {
            for key in side.held.clone() {
                side.drop_sender(key);
                side.drop_receiver(key);
            }
        }
        self.rest();
        // What a peer has opened meanwhile.
        for side in &mut self.sides {
            for key in side.held.clone() {
                side.drop_sender(key);
                side.drop_receiver(key);
            }
        }
        self.rest();
        for side in &self.sides {
            assert_eq!(side.core.open_streams(), 0, "streams");
            assert_eq!(side.core.lanes.queued, 0, "the send budget");
            assert_eq!(side.budget.used(), 0, "the receive budget");
            assert!(!side.core.has_output());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_engines_agree(actions in vec(action(), 1..120)) {
        let mut pair = Pair::new();
        for (server, action) in &actions {
            pair.act(usize::from(*server), action);
        }
        pair.rest();
        pair.agree();
        pair.credit_is_whole();
        pair.nothing_is_left();
    }
}
