//! What may become of a cluster that is registered.

use std::sync::Arc;

use super::{Directory, DirectoryError};
use crate::gateway::store::ClusterRecord;
use crate::wire::token::{ClusterId, TokenKind};

impl Directory {
    /// Changes what may change of a cluster.
    ///
    /// # Errors
    /// [`DirectoryError::UnknownClusterId`]; store errors, after which it is as it was.
    pub async fn update_cluster(
        self: &Arc<Self>,
        id: &ClusterId,
        change: impl FnOnce(&mut ClusterRecord) + Send + 'static,
    ) -> Result<Arc<ClusterRecord>, DirectoryError> {
        let id = id.clone();
        self.change(move |directory| {
            let mut record = ClusterRecord::clone(&*directory.named(&id)?);
            change(&mut record);
            directory.store.put_cluster(&record)?;
            let record = Arc::new(record);
            directory.write().add_cluster(Arc::clone(&record));
            Ok(record)
        })
        .await
    }

    /// Removes a cluster. Its agent's tokens are revoked first; users' tokens that name it are of no more use there.
    ///
    /// # Errors
    /// [`DirectoryError::UnknownClusterId`]; store errors, after which it is still there.
    pub async fn remove_cluster(self: &Arc<Self>, id: &ClusterId) -> Result<(), DirectoryError> {
        let id = id.clone();
        self.change(move |directory| {
            directory.named(&id)?;
            for token in directory.list_tokens() {
                if token.kind == TokenKind::Agent && token.clusters.allows(&id) {
                    directory.end_token(&token)?;
                }
            }
            directory.store.remove_cluster(&id)?;
            directory.write().remove_cluster(&id);
            Ok(())
        })
        .await
    }
}
