//! A random schedule between two ends: which streams are opened by whom, what goes each way in what
//! pieces, and how each stream ends. All of it follows from a seed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use fastrand::Rng;
use futures_util::future::join;
use pipeops_tunnel::mux::Role;
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio_util::sync::CancellationToken;

use crate::ends::{End, In, Out, Speaker};
use crate::pattern::{PIECE, Pattern};
use crate::rig::{Running, settle, until};
use crate::sliced::Sliced;

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finale {
    /// Both sides send everything and finish; both read to the end.
    Finish,
    /// The opener sends everything, reads some, and drops the stream.
    Drop,
    /// The acceptor never reads.
    Stall,
}

#[derive(Debug, Clone)]
struct Plan {
    opener: Role,
    /// Bytes from the opener.
    there: u64,
    /// Bytes to it.
    back: u64,
    finale: Finale,
}

impl Plan {
    fn random(rng: &mut Rng) -> Self {
        Self {
            opener: if rng.bool() {
                Role::Client
            } else {
                Role::Server
            },
            there: length(rng),
            back: length(rng),
            finale: match rng.u8(0..10) {
                0..6 => Finale::Finish,
                6..9 => Finale::Drop,
                _ => Finale::Stall,
            },
        }
    }
}

/// Mostly small, sometimes above the window.
fn length(rng: &mut Rng) -> u64 {
    match rng.u8(0..10) {
        0 => 0,
        1..6 => rng.u64(1..5_000),
        6..9 => rng.u64(5_000..100_000),
        _ => rng.u64(100_000..700_000),
    }
}

/// What both ends know.
struct World {
    seed: u64,
    plans: Vec<Plan>,
    pattern: Pattern,
    tasks: RefCell<Vec<JoinHandle<()>>>,
    accepted: Cell<usize>,
    moved: Cell<u64>,
    /// Every stream that ends by itself has: stalled ones are let go.
    over: CancellationToken,
}

impl World {
    fn rng(&self, stream: usize, salt: u64) -> Rng {
        Rng::with_seed(self.seed ^ (stream as u64) << 20 ^ salt << 50)
    }

    /// The key of a stream's direction.
    fn key(&self, stream: usize, back: bool) -> u64 {
        self.seed.wrapping_add(stream as u64 * 2 + u64::from(back))
    }

    async fn write(&self, out: &mut Out, stream: usize, back: bool, length: u64) -> bool {
        let mut rng = self.rng(stream, 1 + u64::from(back));
        let key = self.key(stream, back);
        let mut at = 0;
        while at < length {
            let most = *rng.choice([10, 1_000, PIECE].iter()).unwrap();
            let piece = (rng.usize(1..=most) as u64).min(length - at);
            let bytes = self.pattern.piece(key, at, piece as usize);
            if out.send(bytes).await.is_err() {
                return false;
            }
            at += piece;
            if rng.u8(0..8) == 0 {
                yield_now().await;
            }
        }
        true
    }

    /// Reads up to `enough` bytes, from `rest` first; how many there were.
    async fn read(&self, from: &mut Reader, stream: usize, back: bool, enough: u64) -> u64 {
        let mut rng = self.rng(stream, 3 + u64::from(back));
        let key = self.key(stream, back);
        let mut at = 0;
        while at < enough {
            let Some(bytes) = from.next().await else {
                break;
            };
            self.pattern.check(key, at, &bytes);
            at += bytes.len() as u64;
            for _ in 0..rng.u8(0..4) {
                yield_now().await;
            }
        }
        self.moved.set(self.moved.get() + at);
        at
    }

    async fn open(self: Rc<Self>, end: Rc<End>, stream: usize) {
        let plan = &self.plans[stream];
        let (mut out, inward) = end.open().await.unwrap();
        out.send((stream as u32).to_be_bytes().to_vec().into())
            .await
            .unwrap();
        let mut reader = Reader::new(inward);
        let written = async {
            let whole = self.write(&mut out, stream, false, plan.there).await;
            if plan.finale == Finale::Finish {
                assert!(whole, "stream {stream} was cut while its opener wrote");
                out.finish().await.unwrap();
            }
            assert!(whole || plan.finale == Finale::Stall, "stream {stream} cut");
        };
        match plan.finale {
            Finale::Finish => {
                let (read, ()) =
                    join(self.read(&mut reader, stream, true, u64::MAX), written).await;
                assert_eq!(read, plan.back, "bytes back on stream {stream}");
            }
            Finale::Drop => {
                let some = plan.back / 2;
                join(self.read(&mut reader, stream, true, some), written).await;
            }
            Finale::Stall => {
                self.over.run_until_cancelled(written).await;
                self.over.cancelled().await;
            }
        }
    }

    async fn accept(self: Rc<Self>, mut out: Out, inward: In) {
        let mut reader = Reader::new(inward);
        let Some(stream) = reader.number().await else {
            panic!("a stream that ended before it said which it is");
        };
        let stream = stream as usize;
        let plan = &self.plans[stream];
        if plan.finale == Finale::Stall {
            self.over.cancelled().await;
            return;
        }
        let written = async {
            let whole = self.write(&mut out, stream, true, plan.back).await;
            if plan.finale == Finale::Finish {
                assert!(whole, "stream {stream} was cut while its acceptor wrote");
                out.finish().await.unwrap();
            }
        };
        let (read, ()) = join(self.read(&mut reader, stream, false, u64::MAX), written).await;
        assert_eq!(
            read, plan.there,
            "bytes there on stream {stream}, {:?}",
            plan.finale
        );
    }
}

struct Reader {
    half: In,
    rest: Option<bytes::Bytes>,
}

impl Reader {
    fn new(half: In) -> Self {
        Self { half, rest: None }
    }

    async fn next(&mut self) -> Option<bytes::Bytes> {
        match self.rest.take().filter(|rest| !rest.is_empty()) {
            Some(rest) => Some(rest),
            None => self.half.recv().await.ok().flatten(),
        }
    }

    async fn number(&mut self) -> Option<u32> {
        let mut bytes = Vec::new();
        while bytes.len() < 4 {
            bytes.extend(self.next().await?);
        }
        let rest = bytes.split_off(4);
        self.rest = Some(rest.into());
        Some(u32::from_be_bytes(bytes.try_into().unwrap()))
    }
}

/// One end, accepting; what it is given runs as a task.
fn end(
    world: &Rc<World>,
    speaker: Speaker,
    role: Role,
    io: Sliced<tokio::io::DuplexStream>,
) -> (Rc<End>, Running) {
    let accepting = Rc::clone(world);
    let (end, running) = End::new(speaker, io, role, move |out, inward| {
        accepting.accepted.set(accepting.accepted.get() + 1);
        let task = spawn_local(Rc::clone(&accepting).accept(out, inward));
        accepting.tasks.borrow_mut().push(task);
    });
    (Rc::new(end), running)
}

/// Runs the schedule of a seed to its end; returns how many bytes arrived, all checked.
pub async fn run(seed: u64, client: Speaker, server: Speaker) -> u64 {
    eprintln!("client {client:?}, server {server:?}, PIPEOPS_MUX_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let streams = *rng.choice([1, 4, 30, 60].iter()).unwrap();
    let world = Rc::new(World {
        seed,
        plans: (0..streams).map(|_| Plan::random(&mut rng)).collect(),
        pattern: Pattern::new(),
        tasks: RefCell::default(),
        accepted: Cell::new(0),
        moved: Cell::new(0),
        over: CancellationToken::new(),
    });
    let (near, far) = tokio::io::duplex(*rng.choice([64, 4_096, 300_000].iter()).unwrap());
    let (client, client_runs) = end(&world, client, Role::Client, Sliced::new(near, &mut rng));
    let (server, server_runs) = end(&world, server, Role::Server, Sliced::new(far, &mut rng));

    let mut opening = Vec::new();
    for (stream, plan) in world.plans.iter().enumerate() {
        let end = if plan.opener == Role::Client {
            &client
        } else {
            &server
        };
        let task = spawn_local(Rc::clone(&world).open(Rc::clone(end), stream));
        opening.push((plan.finale, task));
    }
    finish(&world, opening).await;
    nothing_is_left(&client).await;
    nothing_is_left(&server).await;
    end_session(&client, client_runs).await;
    end_session(&server, server_runs).await;
    world.moved.get()
}

async fn finish(world: &World, opening: Vec<(Finale, JoinHandle<()>)>) {
    let (stalled, ending): (Vec<_>, Vec<_>) = opening
        .into_iter()
        .partition(|(finale, _)| *finale == Finale::Stall);
    for (_, task) in ending {
        task.await.unwrap();
    }
    until(|| (world.accepted.get() == world.plans.len()).then_some(())).await;
    settle().await;
    world.over.cancel();
    for (_, task) in stalled {
        task.await.unwrap();
    }
    let tasks = world.tasks.take();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn nothing_is_left(end: &End) {
    if let End::Ours(session) = end {
        until(|| (session.live_streams() == 0).then_some(())).await;
    }
}

/// A session of ours ends well; how the crate takes that is its own affair.
async fn end_session(end: &End, running: Running) {
    if let End::Ours(session) = end {
        session.close();
        running.await.unwrap().unwrap();
    }
}
