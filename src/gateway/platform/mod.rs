//! The platform's API at `/v1`, for users and CI: clusters, deployments, logs, programs in pods, events, tokens.
//!
//! Every worker serves it on the public listeners. Who asks is found out by `caller`; what is asked for is done by one
//! module for each kind of thing. `openapi` describes it from the handlers,
//! and `ui` is a page that shows it to people. What has to go through the tunnel (`pods`)
//! leaves the router as a `Detour`, which the worker follows on its own carriers.

mod audit;
mod caller;
mod clusters;
mod deployments;
mod detour;
mod docs;
mod events;
mod openapi;
mod page;
mod pods;
mod sse;
mod tokens;
mod ui;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use http::{Request, Response};
use hyper::body::Incoming;
use tower::ServiceExt;

use super::body::ResponseBody;
use super::service::{Client, Refusal};
use super::shared::Shared;
use super::worker::Worker;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::limits::MAX_CONTROL_MESSAGE;
use caller::Limits;
use detour::Detour;

pub(super) use detour::Lines;
pub use openapi::description;

/// Bytes of a request's body: what a manifest of the largest size takes as a JSON string.
const MAX_BODY: usize = MAX_CONTROL_MESSAGE;

/// What handlers have at hand.
#[derive(Debug, Clone)]
pub(super) struct Platform {
    shared: Arc<Shared>,
    limits: Arc<Limits>,
}

/// Where a request came from.
#[derive(Debug, Clone)]
struct Origin {
    peer: SocketAddr,
    request_id: String,
}

/// The routes, for one worker.
pub(super) fn router(shared: &Arc<Shared>) -> Router {
    let platform = Platform {
        shared: Arc::clone(shared),
        limits: Arc::default(),
    };
    let (routes, api) = openapi::routes().split_for_parts();
    let authenticated = routes
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn(page::tagged))
        .layer(middleware::from_fn_with_state(
            platform.clone(),
            caller::admit,
        ))
        .with_state(platform);
    docs::router(&api)
        .merge(ui::router())
        .fallback_service(authenticated)
}

/// Serves one request.
///
/// # Errors
/// Only of what took the way through the tunnel; all else is answered by the router.
pub(super) async fn serve(
    worker: &Rc<Worker>,
    client: &Client,
    request: Request<Incoming>,
    id: &str,
) -> Result<Response<ResponseBody>, Refusal> {
    let origin = Origin {
        peer: client.peer,
        request_id: id.to_owned(),
    };
    if pods::is_pods(request.uri().path()) {
        return detoured(worker, client, request, origin).await;
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(origin);
    Ok(routed(worker, request).await)
}

async fn routed(worker: &Worker, request: Request<Body>) -> Response<ResponseBody> {
    let answer = worker.platform.clone().oneshot(request).await;
    let response = answer.unwrap_or_else(|never| match never {});
    response.map(ResponseBody::own)
}

/// Asks the router where the request is to go, and goes there.
async fn detoured(
    worker: &Rc<Worker>,
    client: &Client,
    request: Request<Incoming>,
    origin: Origin,
) -> Result<Response<ResponseBody>, Refusal> {
    let mut asks = Request::new(Body::empty());
    *asks.method_mut() = request.method().clone();
    *asks.uri_mut() = request.uri().clone();
    *asks.headers_mut() = request.headers().clone();
    asks.extensions_mut().insert(origin.clone());
    let mut answer = routed(worker, asks).await;
    let Some(detour) = answer.extensions_mut().remove::<Detour>() else {
        return Ok(answer);
    };
    let mut answered = detour
        .follow(worker, client, request, &origin.request_id)
        .await?;
    for (name, value) in answer.headers() {
        if name.as_str().starts_with("x-ratelimit-") {
            answered.headers_mut().insert(name, value.clone());
        }
    }
    Ok(answered)
}

async fn nothing_here() -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        "there is nothing at this path; /docs lists what there is",
    )
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        ErrorCode::MethodNotAllowed,
        "this path does not take this method; /docs lists what it takes",
    )
}
