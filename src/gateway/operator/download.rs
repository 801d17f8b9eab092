//! Answers of the gateway that are too large to hold.

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::{AdminClient, DEADLINE, OperatorError};

impl AdminClient {
    /// Gets `path` and hands the answer on, piece by piece. When it returns without an error the answer was whole.
    ///
    /// # Errors
    /// [`OperatorError`], also when a piece is late; and what `put` says.
    pub async fn download<E: From<OperatorError>>(
        &self,
        path: &str,
        mut put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let request = Request::get(path)
            .header(header::HOST, "admin")
            .body(Full::new(Bytes::new()))
            .map_err(|e| self.answer(e))?;
        let (mut sender, connection) = self.connect().await?;
        let read = async {
            let response = self.in_time(sender.send_request(request)).await?;
            if !response.status().is_success() {
                return Err(self
                    .refusal(&self.collect(response.into_body()).await?)
                    .into());
            }
            let mut body = response.into_body();
            while let Some(piece) = self.next(&mut body).await? {
                put(&piece)?;
            }
            Ok(())
        };
        let mut read = std::pin::pin!(read);
        tokio::select! {
            biased;
            done = &mut read => done,
            _ = connection => read.await,
        }
    }

    async fn next(&self, body: &mut Incoming) -> Result<Option<Bytes>, OperatorError> {
        let next = async { body.frame().await.transpose() };
        let frame = self.in_time(next).await?;
        Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    async fn in_time<T>(
        &self,
        wait: impl Future<Output = Result<T, hyper::Error>>,
    ) -> Result<T, OperatorError> {
        let done = tokio::time::timeout(DEADLINE, wait).await;
        let done = done.map_err(|_| OperatorError::Deadline {
            path: self.path.clone(),
        })?;
        done.map_err(|source| self.broken(source))
    }
}
