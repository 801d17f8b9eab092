//! `CONNECT {service}.tunnel-{cluster-id}.{domain}:{port}` (RFC 9110, section 9.3.6): for clients
//! that know how to go through a proxy. The port is not looked at: the agent's configuration names
//! the target.

use std::rc::Rc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::{ClusterRef, Route};
use crate::gateway::body::ResponseBody;
use crate::gateway::hosts::Site;
use crate::gateway::service::{Client, Refusal};
use crate::gateway::worker::Worker;
use crate::http::headers;
use crate::http::path::TunnelPath;
use crate::http::{authority, path};
use crate::wire::error::{ApiError, ErrorCode};

/// Opens the service that the request's target names; the answer is 200, and then raw bytes.
///
/// # Errors
/// What the client is told when no connection has begun.
pub(in crate::gateway) async fn connect(
    worker: &Rc<Worker>,
    client: &Client,
    mut request: Request<Incoming>,
    id: &str,
) -> Result<Response<ResponseBody>, Refusal> {
    if client.heads.is_none() {
        return Err(invalid("CONNECT goes over HTTP/1.1 here, not HTTP/2").into());
    }
    let authority = authority::of_request(request.uri(), request.headers())?;
    let hosts = &worker.shared.hosts;
    let named = hosts.forward(authority.host());
    let Some((service, cluster)) = named.filter(|(service, _)| path::is_name(service)) else {
        return Err(invalid(
            "CONNECT takes SERVICE.tunnel-CLUSTER_ID.DOMAIN:PORT of this gateway, and nothing else",
        )
        .into());
    };
    check_sni(
        hosts.site(client.sni.as_deref().unwrap_or_default()),
        cluster,
        client,
    )?;
    headers::take_proxy_authorization(request.headers_mut())?;
    let path = TunnelPath {
        service,
        rest: "",
        prefix: "",
    };
    let route = Route {
        cluster: ClusterRef::Id(cluster),
        path: &path,
        scope: None,
        host: &authority.to_string(),
        id,
    };
    super::forward(worker, client, request, route).await
}

/// The name in the TLS handshake is the proxy's: any of ours, but not another cluster's.
fn check_sni(site: Result<Site, ApiError>, cluster: &str, client: &Client) -> Result<(), ApiError> {
    if client.sni.is_none() {
        return Ok(());
    }
    match site? {
        Site::Tunnel(other) if other != cluster => Err(ApiError::new(
            ErrorCode::MisdirectedRequest,
            "the TLS connection was made for another cluster than CONNECT names",
        )),
        Site::Tunnel(_) | Site::Api => Ok(()),
    }
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidRequest, message)
}

/// Makes a refusal one of a proxy's (RFC 9110, section 15.5.8): clients then ask for, or send, the
/// credentials that they have for it.
pub(in crate::gateway) fn as_proxy(response: &mut Response<ResponseBody>) {
    if response.status() != StatusCode::UNAUTHORIZED {
        return;
    }
    *response.status_mut() = StatusCode::PROXY_AUTHENTICATION_REQUIRED;
    let headers = response.headers_mut();
    headers.remove(header::WWW_AUTHENTICATE);
    headers.insert(
        header::PROXY_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"pipeops: any user, the token as password\""),
    );
}
