//! What streams: events, a large download, an upload. Nothing is collected.

use std::convert::Infallible;
use std::iter::successors;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Body, is_head, json_response, mark, problem};

/// One event each.
const TICK: Duration = Duration::from_secs(1);
/// A download without `bytes`: 1 GiB.
const DEFAULT_BYTES: u64 = 1 << 30;
/// The largest download, 1 TiB: hours at any speed, and no reason for more.
const MAX_BYTES: u64 = 1 << 40;
/// Bytes made at once; enough that making them costs less than sending them.
const CHUNK: u64 = 64 * 1024;
/// An upload that sends nothing for this long is over.
const UPLOAD_IDLE: Duration = Duration::from_secs(60);

/// A numbered event each second until the client goes (`text/event-stream`, WHATWG HTML 9.2).
/// A client that comes again with `Last-Event-ID` is counted on from there.
pub(super) fn events(request: &Request<Incoming>) -> Response<Body> {
    let last = request
        .headers()
        .get("last-event-id")
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let first = last.map_or(1, |last: u64| last.saturating_add(1));
    let body = if is_head(request) {
        Empty::new().boxed_unsync()
    } else {
        ticking(first)
    };
    let mut response = Response::new(body);
    mark(response.headers_mut(), "text/event-stream");
    response
}

fn ticking(first: u64) -> Body {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = stream::unfold((ticks, first), async |(mut ticks, number)| {
        ticks.tick().await;
        let event = json!({"number": number, "time": Timestamp::now()});
        let text = format!("id: {number}\ndata: {event}\n\n");
        Some((frame(Bytes::from(text)), (ticks, number.saturating_add(1))))
    });
    StreamBody::new(events).boxed_unsync()
}

/// `bytes` bytes in which each group of eight is its own offset (big-endian), so that whatever is
/// lost, doubled or out of order shows.
pub(super) fn download(request: &Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let asked = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("bytes="));
    let bytes = match asked.map_or(Ok(DEFAULT_BYTES), str::parse) {
        Ok(bytes) if bytes <= MAX_BYTES => bytes,
        Ok(_) | Err(_) => {
            let message = format!("bytes must be a number from 0 to {MAX_BYTES}");
            return problem(StatusCode::BAD_REQUEST, "INVALID_REQUEST", &message);
        }
    };
    let body = if is_head(request) {
        Empty::new().boxed_unsync()
    } else {
        pattern(bytes)
    };
    let mut response = Response::new(body);
    mark(response.headers_mut(), "application/octet-stream");
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    response
}

fn pattern(bytes: u64) -> Body {
    let offsets = successors(Some(0), |offset| Some(offset + CHUNK))
        .take_while(move |offset| *offset < bytes);
    let chunks = offsets.map(move |offset| frame(chunk(offset, CHUNK.min(bytes - offset))));
    StreamBody::new(stream::iter(chunks)).boxed_unsync()
}

/// The pattern's `length` bytes from `offset` on, which is a multiple of eight.
fn chunk(offset: u64, length: u64) -> Bytes {
    let words = length.div_ceil(8);
    let mut bytes: Vec<u8> = (0..words)
        .flat_map(|word| (offset + word * 8).to_be_bytes())
        .collect();
    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    Bytes::from(bytes)
}

/// Counts and hashes what comes.
pub(super) async fn upload(mut body: Incoming) -> Response<Body> {
    let (mut bytes, mut hash) = (0_u64, Sha256::new());
    loop {
        match timeout(UPLOAD_IDLE, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    bytes += data.len() as u64;
                    hash.update(data);
                }
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                let message = format!("the upload broke off after {bytes} bytes: {error}");
                return problem(StatusCode::BAD_REQUEST, "INVALID_REQUEST", &message);
            }
            Err(_) => {
                let message = format!(
                    "nothing came for {} s after {bytes} bytes",
                    UPLOAD_IDLE.as_secs()
                );
                return problem(StatusCode::REQUEST_TIMEOUT, "REQUEST_TIMED_OUT", &message);
            }
        }
    }
    json_response(
        StatusCode::OK,
        &json!({"bytes": bytes, "sha256": HEXLOWER.encode(&hash.finalize())}),
    )
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a stream of frames is one of results"
)]
fn frame(bytes: Bytes) -> Result<Frame<Bytes>, Infallible> {
    Ok(Frame::data(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_pattern_is_one_whatever_its_length() {
        for bytes in [0, 1, 7, 8, CHUNK - 1, CHUNK, CHUNK + 3, 3 * CHUNK] {
            let whole = pattern(bytes).collect().await.unwrap().to_bytes();
            assert_eq!(whole.len() as u64, bytes);
            for (index, group) in whole.chunks_exact(8).enumerate() {
                assert_eq!(group, (index as u64 * 8).to_be_bytes());
            }
        }
    }
}
