//! The engine over TLS against its rivals: what a GiB costs in processor time, and how long a small
//! message takes beside bulk. Both ends are in this process, a thread each, over loopback.
//!
//! Rounds are interleaved (A B C D A B C D …), and ratios are of the same round, so that a noisy
//! machine disturbs all alike. `cargo bench --bench engine -- --help` has the arguments,
//! docs/performance-engine.md results.
#![allow(missing_docs, unreachable_pub, reason = "a bench")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_types,
    clippy::cast_possible_truncation,
    reason = "a bench"
)]

mod bulk;
mod carrier;
mod h2mux;
mod ours;
mod ping;
mod plain;
mod report;
mod yamux_crate;

use std::rc::Rc;

use clap::{Parser, ValueEnum};
use report::Table;

/// Who moves the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rival {
    /// The engine of this crate.
    Ours,
    /// tokio-rustls and nothing else: one connection, or for pings one for each stream.
    Tls,
    /// The `yamux` crate.
    Yamux,
    /// HTTP/2 by `h2`, with large windows and frames.
    H2,
}

/// Measures multiplexers over TLS on loopback.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Whom to measure; ratios are against the first.
    #[arg(long, value_delimiter = ',', default_value = "ours,tls,yamux,h2")]
    rivals: Vec<Rival>,
    /// Numbers of streams for bulk.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    streams: Vec<usize>,
    /// MiB that one round of bulk moves.
    #[arg(long, default_value_t = 512)]
    mib: u64,
    /// Rounds, after one that does not count.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Pings of a round, 1 KiB each, beside bulk; 0 leaves them out.
    #[arg(long, default_value_t = 500)]
    pings: usize,
    /// Bulk streams beside the pings.
    #[arg(long, default_value_t = 4)]
    beside: usize,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    let tls = Rc::new(carrier::Tls::new());
    for &streams in &arguments.streams {
        let mut table = Table::new(&arguments.rivals, &["CPU-s/GiB", "MiB/s", "min/max share"]);
        for round in 0..=arguments.rounds {
            let figures = |rival| bulk::round(&tls, rival, streams, arguments.mib << 20);
            let row = arguments
                .rivals
                .iter()
                .map(|rival| figures(*rival))
                .collect();
            if round > 0 {
                table.add(row);
            }
        }
        println!("\n## {streams} stream(s), {} MiB a round", arguments.mib);
        table.print();
    }
    if arguments.pings > 0 {
        let names = ["ping p50 ms", "ping p99 ms", "bulk MiB/s"];
        let mut table = Table::new(&arguments.rivals, &names);
        for round in 0..=arguments.rounds {
            let figures = |rival| ping::round(&tls, rival, arguments.beside, arguments.pings);
            let row = arguments
                .rivals
                .iter()
                .map(|rival| figures(*rival))
                .collect();
            if round > 0 {
                table.add(row);
            }
        }
        println!("\n## 1 KiB ping beside {} bulk streams", arguments.beside);
        table.print();
    }
}
