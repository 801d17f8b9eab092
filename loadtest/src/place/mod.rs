//! Where the agent's side lives: on this host, or behind a link that is slow, long and lossy.

mod link;
mod proxy;

use std::path::Path;
use std::process::Command;

use anyhow::Result;

pub(crate) use link::Link;
pub(crate) use proxy::Proxy;

/// What the link is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    /// Seconds there and back.
    pub(crate) rtt: f64,
    /// Bytes a second, each way.
    pub(crate) rate: f64,
    /// Share of packets that are lost, each way.
    pub(crate) loss: f64,
}

/// The agent's side.
#[derive(Debug)]
pub(crate) enum Place {
    /// This host's loopback.
    Here,
    /// A network namespace of its own, behind packets that we carry.
    Link(Link),
    /// This host, behind a proxy that delays bytes.
    Proxy(Proxy),
}

impl Place {
    /// The gateway's address, as the agent's side sees it.
    pub(crate) fn gateway_host(&self) -> &'static str {
        match self {
            Self::Here | Self::Proxy(_) => "127.0.0.1",
            Self::Link(_) => link::GATEWAY,
        }
    }

    /// The port that an agent dials to reach the gateway's.
    ///
    /// # Errors
    /// When no proxy can be started before it.
    pub(crate) async fn before_gateway(&self, port: u16) -> Result<u16> {
        match self {
            Self::Here | Self::Link(_) => Ok(port),
            Self::Proxy(proxy) => proxy.before(port).await,
        }
    }

    /// A command that starts a program on the agent's side.
    pub(crate) fn agent_command(&self, program: &Path) -> Command {
        match self {
            Self::Here | Self::Proxy(_) => Command::new(program),
            Self::Link(link) => link.agent_command(program),
        }
    }

    /// The link, where there is one.
    pub(crate) fn shape(&self) -> Option<Shape> {
        match self {
            Self::Here => None,
            Self::Link(link) => Some(link.shape()),
            Self::Proxy(proxy) => Some(proxy.shape()),
        }
    }
}
