//! What counting costs: once for each chunk of 16 KiB, four ways, by one thread and by two at once.
//!
//! `cargo bench --bench metrics`; docs/metrics.md has figures.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_types,
    reason = "a bench"
)]

use std::cell::Cell;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use prometheus::{IntCounter, IntCounterVec, Opts};

const CHUNK: u64 = 16 * 1024;

/// The bytes by the service's name under a lock, as a simple program would have it.
type Locked = Mutex<HashMap<String, u64>>;

fn family() -> IntCounterVec {
    let opts = Opts::new("bytes_total", "Bytes");
    IntCounterVec::new(opts, &["service", "direction"]).unwrap()
}

fn add_locked(map: &Locked, service: &str) {
    *map.lock().unwrap().entry(service.to_owned()).or_default() += CHUNK;
}

/// The time that `threads` need for `rounds` each, all at once.
fn together(rounds: u64, threads: usize, work: impl Fn() + Sync) -> Duration {
    let barrier = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    (0..rounds).for_each(|_| work());
                })
            })
            .collect();
        barrier.wait();
        let begun = Instant::now();
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
        begun.elapsed()
    })
}

fn one_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("one thread");
    let cell = Cell::new(0u64);
    group.bench_function("cell", |bencher| {
        bencher.iter(|| black_box(&cell).set(cell.get() + CHUNK));
    });
    let family = family();
    let counter: IntCounter = family.with_label_values(&["demo", "sent"]);
    group.bench_function("relaxed addition", |bencher| {
        bencher.iter(|| black_box(&counter).inc_by(CHUNK));
    });
    group.bench_function("look-up by labels", |bencher| {
        bencher.iter(|| {
            family
                .with_label_values(black_box(&["demo", "sent"]))
                .inc_by(CHUNK)
        });
    });
    let map = Locked::default();
    group.bench_function("map under a lock", |bencher| {
        bencher.iter(|| add_locked(black_box(&map), "demo"));
    });
    group.finish();
}

fn two_threads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("two threads");
    let family = family();
    let counter: IntCounter = family.with_label_values(&["demo", "sent"]);
    group.bench_function("relaxed addition", |bencher| {
        bencher.iter_custom(|rounds| together(rounds, 2, || counter.inc_by(CHUNK)));
    });
    group.bench_function("look-up by labels", |bencher| {
        let work = || family.with_label_values(&["demo", "sent"]).inc_by(CHUNK);
        bencher.iter_custom(|rounds| together(rounds, 2, work));
    });
    let map = Arc::new(Locked::default());
    group.bench_function("map under a lock", |bencher| {
        bencher.iter_custom(|rounds| together(rounds, 2, || add_locked(&map, "demo")));
    });
    group.finish();
}

criterion_group!(benches, one_thread, two_threads);
criterion_main!(benches);
