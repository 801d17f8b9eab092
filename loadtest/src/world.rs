//! What all subjects share: arguments, a place for processes, and the origin.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;

use crate::args::Args;
use crate::place::Place;
use crate::system::free_port;
use crate::system::process::{Nursery, Process};

/// Made once.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) args: Args,
    /// Where the agent and the origin live.
    pub(crate) place: Place,
    /// The origin's address, as an agent sees it.
    pub(crate) origin: SocketAddr,
    /// The origin's process, unless others run it.
    pub(crate) origin_process: Option<Process>,
    pub(crate) nursery: Nursery,
}

impl World {
    /// Starts the origin, unless a target has one.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn new(args: Args, nursery: Nursery, place: Place) -> Result<Self> {
        let origin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let origin_process = match args.target {
            Some(_) => None,
            None => {
                let mut command = place.agent_command(&std::env::current_exe()?);
                command
                    .arg("origin")
                    .arg("--listen")
                    .arg(origin.to_string());
                let folder = nursery.folder("origin")?;
                Some(nursery.spawn("origin", &mut command, &folder)?)
            }
        };
        Ok(Self {
            args,
            place,
            origin,
            origin_process,
            nursery,
        })
    }
}
