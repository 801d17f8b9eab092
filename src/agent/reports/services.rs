//! The services, which are only counted.

use super::cache::{Cache, Marked};
use super::happening::Found;
use super::intern::uid;
use super::meters::Watched;
use super::slim::SlimService;

/// All services.
#[derive(Debug, Default)]
pub(super) struct Services {
    services: Marked<()>,
}

impl Cache for Services {
    type Object = SlimService;
    const WATCHED: Watched = Watched::Services;

    fn begin(&mut self) {
        self.services.begin();
    }

    fn see(&mut self, object: &SlimService, _: &mut Vec<Found>) {
        self.services.put(uid(&object.metadata), ());
    }

    fn gone(&mut self, object: &SlimService, _: &mut Vec<Found>) {
        self.services.remove(uid(&object.metadata));
    }

    fn sweep(&mut self, _: &mut Vec<Found>) -> bool {
        !self.services.sweep().is_empty()
    }

    fn is_listed(&self) -> bool {
        self.services.is_listed()
    }

    fn count(&self) -> usize {
        self.services.len()
    }
}
