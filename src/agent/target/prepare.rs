//! A request as a forward's target is to see it.

use std::path::PathBuf;

use http::header::{AUTHORIZATION, HOST};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri, Version};
use secrecy::ExposeSecret;

use crate::agent::config::{ForwardConfig, Prefix, Protocol};
use crate::agent::dial::read_secret;
use crate::http::body::ExchangeBody;
use crate::http::headers;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::head::RequestHead;

/// What a forward's configuration says of its requests.
pub(super) struct Forward {
    name: String,
    host: HeaderValue,
    protocol: Protocol,
    prefix: Prefix,
    authorization_file: Option<PathBuf>,
}

impl Forward {
    pub(super) fn new(config: &ForwardConfig) -> Result<Self, String> {
        let host = HeaderValue::from_str(&config.local_addr)
            .map_err(|error| format!("local_addr: {error}"))?;
        Ok(Self {
            name: config.name.clone(),
            host,
            protocol: config.protocol,
            prefix: config.prefix,
            authorization_file: config.authorization_file.clone(),
        })
    }

    /// Makes the request: cleaned again, with what we vouch for and the target's own credentials.
    pub(super) fn prepare(
        &self,
        head: RequestHead,
        body: ExchangeBody,
    ) -> Result<Request<ExchangeBody>, ApiError> {
        let target = match self.prefix {
            Prefix::Strip => head.target.clone(),
            Prefix::Keep => format!("{}{}", head.prefix, head.target),
        };
        let path = path_and_query(&target)?;
        let mut fields = head.headers;
        headers::strip_for_target(&mut fields, head.upgrade.as_deref());
        let prefix = if self.prefix == Prefix::Strip {
            head.prefix.as_str()
        } else {
            ""
        };
        headers::forwarded(&mut fields, prefix, &head.host, "https").map_err(|_| bad_head())?;
        set(&mut fields, "x-request-id", &head.request_id)?;
        self.authorize(&mut fields)?;
        let http2 = matches!(self.protocol, Protocol::Grpc | Protocol::Grpcs);
        if !http2 {
            fields.insert(HOST, self.host.clone());
        }
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.version_mut() = if http2 {
            Version::HTTP_2
        } else {
            Version::HTTP_11
        };
        *request.uri_mut() = if http2 {
            self.absolute(path)?
        } else {
            Uri::from(path)
        };
        *request.headers_mut() = fields;
        Ok(request)
    }

    fn absolute(&self, path: PathAndQuery) -> Result<Uri, ApiError> {
        let mut parts = http::uri::Parts::default();
        let scheme = if self.protocol == Protocol::Grpcs {
            Scheme::HTTPS
        } else {
            Scheme::HTTP
        };
        parts.scheme = Some(scheme);
        parts.authority = self.host.as_bytes().try_into().ok();
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).map_err(|_| bad_head())
    }

    fn authorize(&self, fields: &mut HeaderMap) -> Result<(), ApiError> {
        let Some(path) = &self.authorization_file else {
            return Ok(());
        };
        let failed = |reason: String| {
            tracing::error!(
                service = self.name,
                reason,
                "can not read the target's credentials"
            );
            ApiError::new(
                ErrorCode::TargetFailed,
                format!(
                    "the agent can not read its credentials for the service '{}'; see its log",
                    self.name
                ),
            )
        };
        let secret = read_secret(path).map_err(|error| failed(error.to_string()))?;
        let mut value = HeaderValue::from_str(secret.expose_secret())
            .map_err(|error| failed(error.to_string()))?;
        value.set_sensitive(true);
        fields.insert(AUTHORIZATION, value);
        Ok(())
    }
}

/// The path and query that the target sees; an empty path is `/`.
pub(super) fn path_and_query(target: &str) -> Result<PathAndQuery, ApiError> {
    let path = if target.starts_with('/') {
        target.to_owned()
    } else {
        format!("/{target}")
    };
    PathAndQuery::from_maybe_shared(bytes::Bytes::from(path)).map_err(|_| bad_head())
}

/// Sets a header to a text of ours.
pub(super) fn set(fields: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), ApiError> {
    let value = HeaderValue::from_str(value).map_err(|_| bad_head())?;
    fields.insert(name, value);
    Ok(())
}

fn bad_head() -> ApiError {
    ApiError::new(
        ErrorCode::InvalidRequest,
        "the request's path or headers can not be passed on",
    )
}
