//! The configuration in force, for those who read it while it may change.

use std::sync::Arc;

use tokio::sync::watch;

/// A configuration that may change. Clones see the same one.
#[derive(Debug, Clone)]
pub struct Live<T>(watch::Receiver<Arc<T>>);

impl<T> Live<T> {
    pub(super) fn new(config: T) -> (watch::Sender<Arc<T>>, Self) {
        let (sender, receiver) = watch::channel(Arc::new(config));
        (sender, Self(receiver))
    }

    /// As it is now.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits for the next change, and answers what is in force then; for ever, where nobody can
    /// change it.
    pub async fn changed(&mut self) -> Arc<T> {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        Arc::clone(&self.0.borrow_and_update())
    }
}

/// A configuration that does not change.
impl<T> From<T> for Live<T> {
    fn from(config: T) -> Self {
        Self::new(config).1
    }
}
