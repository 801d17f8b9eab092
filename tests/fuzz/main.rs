//! The fuzz targets over their corpora, over mutations of them, and over random bytes.
//!
//! A plain run does a few hundred of each; `PIPEOPS_FUZZ=n` does n. An input that fails is to be
//! added to `tests/fuzz/corpus`. How to fuzz for hours: `fuzz/README.md`.
#![allow(missing_docs, unreachable_pub, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod entry;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};

/// How an input of the corpus is changed.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index, Index),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        (index(), 1u8..).prop_map(|(at, bits)| Change::Flip(at, bits)),
        (index(), vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (index(), index()).prop_map(|(from, to)| Change::Cut(from, to)),
        (index(), index()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(input: &mut Vec<u8>, change: &Change) {
    let at = |index: &Index, length: usize| index.index(length + 1);
    let length = input.len();
    match change {
        Change::Flip(index, bits) => {
            if let Some(byte) = input.get_mut(at(index, length)) {
                *byte ^= bits;
            }
        }
        Change::Insert(index, bytes) => {
            let place = at(index, length);
            input.splice(place..place, bytes.iter().copied());
        }
        Change::Cut(from, to) => {
            let (from, to) = (at(from, length), at(to, length));
            input.drain(from.min(to)..from.max(to));
        }
        Change::Repeat(from, to) => {
            let (from, to) = (at(from, length), at(to, length));
            input.extend_from_within(from.min(to)..from.max(to));
        }
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no corpus");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn fuzz(name: &str, cases: u32, target: fn(&[u8])) {
    let corpus = corpus(name);
    corpus.iter().for_each(|input| target(input));
    let cases = std::env::var("PIPEOPS_FUZZ").map_or(cases, |number| number.parse().unwrap());
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let inputs = (select(corpus), vec(change(), 0..6)).prop_map(|(mut input, changes)| {
        changes.iter().for_each(|change| apply(&mut input, change));
        input
    });
    let inputs = prop_oneof![8 => inputs, 1 => vec(any::<u8>(), 0..200)];
    let run = TestRunner::new(config).run(&inputs, |input| {
        target(&input);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn mux() {
    fuzz("mux", 400, entry::mux);
}

#[test]
fn exchange() {
    fuzz("exchange", 2_000, entry::exchange);
}

#[test]
fn path() {
    fuzz("path", 5_000, entry::path);
}

#[test]
fn config() {
    fuzz("config", 150, entry::config);
}
