//! Where hyper's own tasks run: on this thread.

use hyper::rt::Executor;

/// Spawns on the thread that calls it, so that futures need not be `Send`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LocalExec;

impl<F> Executor<F> for LocalExec
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
