//! Gateway and agent in one process, with a demo service behind them: what a newcomer runs first,
//! on loopback and without anything installed. The only module that sees both sides; called by
//! `pipeops-dev` alone.

mod args;
pub mod demo;
mod identity;
mod listen;
mod run;
mod shell;
mod summary;

pub use args::DevArgs;
pub use identity::IdentityError;
pub use run::{Dev, DevError, DevOptions};
pub use summary::Summary;
