//! An exchange of raw bytes that no HTTP client asked for.

use tokio::time::{Instant, timeout};

use super::{Begun, unexpected};
use crate::gateway::store::ClusterRecord;
use crate::gateway::worker::Worker;
use crate::http::exchange::{ExchangeError, Receiver, Sender};
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::frame::Frame;
use crate::wire::head::RequestHead;
use crate::wire::limits::FORWARD_OPEN;
use http::StatusCode;

/// Asks a cluster's agent for a service and waits until its target is connected.
///
/// # Errors
/// Whose fault it is.
pub(in crate::gateway) async fn open(
    worker: &Worker,
    cluster: &ClusterRecord,
    head: RequestHead,
    asked: Instant,
) -> Result<(Sender, Receiver), ApiError> {
    let opened = async {
        let request = Frame::Request(Box::new(head));
        let mut begun = Begun::begin(worker, cluster, &request, asked).await?;
        match begun.receiver.next().await {
            Ok(Some(Frame::Response(head))) if head.status == StatusCode::SWITCHING_PROTOCOLS => {
                let sender = begun.sender.take();
                let sender = sender.ok_or_else(|| unexpected("RESPONSE"))?;
                Ok((sender, begun.receiver))
            }
            Ok(Some(other)) => Err(unexpected(other.name())),
            Ok(None) => Err(ExchangeError::Cut.into_api_error()),
            Err(error) => Err(error.into_api_error()),
        }
    };
    timeout(FORWARD_OPEN, opened).await.unwrap_or_else(|_| {
        Err(ApiError::new(
            ErrorCode::TargetTimedOut,
            format!(
                "the cluster's agent did not answer within {} s",
                FORWARD_OPEN.as_secs()
            ),
        ))
    })
}
