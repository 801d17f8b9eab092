//! The cluster's own API, through kube's configuration: the pod's account with its token's
//! rotation, or a kubeconfig with whatever it names.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::Empty;
use kube::client::ConfigExt;
use kube::client::middleware::AuthLayer;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::pki_types::ServerName;
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

use super::connect::Connector;
use super::policy;
use super::pool::Pool;
use super::prepare::{path_and_query, set};
use crate::agent::config::{IdentityMode, KubernetesConfig};
use crate::agent::metrics::TargetMeters;
use crate::http::body::ExchangeBody;
use crate::http::headers;
use crate::wire::error::{ApiError, ErrorCode};
use crate::wire::head::RequestHead;

/// A configuration that could not be loaded is tried again after this long.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// A configuration is loaded anew after this long: certificates and kubeconfigs are replaced.
const RELOAD: Duration = Duration::from_secs(300);

/// The header that carries the user's name into the cluster's audit log.
pub(in crate::agent) const EXTRA_SUBJECT: &str = "impersonate-extra-pipeops.io%2fsubject";

/// The `kubernetes` service.
pub(super) struct Kubernetes {
    config: KubernetesConfig,
    namespace: String,
    meters: Arc<TargetMeters>,
    loaded: RefCell<Option<Loaded>>,
}

struct Loaded {
    at: Instant,
    api: Result<Rc<Api>, String>,
}

/// The API server, and how to speak to it as ourselves.
pub(super) struct Api {
    pub(super) pool: Pool,
    auth: Option<AuthLayer>,
    host: HeaderValue,
    base: String,
    fixed: HeaderMap,
}

impl Kubernetes {
    pub(super) fn new(
        config: &KubernetesConfig,
        namespace: &str,
        meters: Arc<TargetMeters>,
    ) -> Self {
        Self {
            config: config.clone(),
            namespace: namespace.to_owned(),
            meters,
            loaded: RefCell::default(),
        }
    }

    /// The API server as configured now.
    ///
    /// # Errors
    /// Where there is no usable configuration.
    pub(super) async fn api(&self) -> Result<Rc<Api>, ApiError> {
        if let Some(loaded) = &*self.loaded.borrow() {
            let good_for = if loaded.api.is_ok() {
                RELOAD
            } else {
                TRY_AGAIN
            };
            if loaded.at.elapsed() < good_for {
                return loaded.api.clone().map_err(|_| unusable());
            }
        }
        let api = Box::pin(load(&self.config, &self.meters))
            .await
            .map(Rc::new);
        if let Err(reason) = &api {
            tracing::error!(reason, "no usable configuration of the Kubernetes API");
        }
        let result = api.clone().map_err(|_| unusable());
        self.loaded.replace(Some(Loaded {
            at: Instant::now(),
            api,
        }));
        result
    }

    /// Whether the configuration was usable when it was last looked at.
    pub(super) fn is_usable(&self) -> bool {
        self.loaded
            .borrow()
            .as_ref()
            .is_none_or(|loaded| loaded.api.is_ok())
    }

    /// Closes the connections that no request has used for long.
    pub(super) fn expire(&self) {
        if let Some(Loaded { api: Ok(api), .. }) = &*self.loaded.borrow() {
            api.pool.expire();
        }
    }

    /// Makes the request: policy first, the user's identity last.
    ///
    /// # Errors
    /// What the policy refuses, and anything that would leave the identity unsaid.
    pub(super) async fn prepare(
        &self,
        api: &Api,
        head: RequestHead,
        body: ExchangeBody,
    ) -> Result<Request<ExchangeBody>, ApiError> {
        policy::check_read_only(&head, self.config.read_only, self.config.identity)?;
        let account = policy::service_account(&self.namespace, &head.identity.role)?;
        let target = format!("{}{}", api.base, head.target);
        let mut request = Request::new(body);
        *request.uri_mut() = Uri::from(path_and_query(&target)?);
        *request.method_mut() = head.method;
        let mut fields = head.headers;
        headers::strip_for_target(&mut fields, head.upgrade.as_deref());
        fields.insert(HOST, api.host.clone());
        // Empty where we impersonate: an identity is said once.
        fields.extend(api.fixed.clone());
        if let Some(value) = api.authorization().await? {
            fields.insert(AUTHORIZATION, value);
        }
        if self.config.identity == IdentityMode::Impersonate {
            set(&mut fields, "impersonate-user", &account)?;
            set(&mut fields, EXTRA_SUBJECT, &head.identity.subject)?;
        }
        *request.headers_mut() = fields;
        Ok(request)
    }
}

impl Api {
    /// Our own `Authorization`, fresh from wherever kube's configuration has it.
    async fn authorization(&self) -> Result<Option<HeaderValue>, ApiError> {
        let Some(auth) = &self.auth else {
            return Ok(None);
        };
        // The layer adds the header to a request that goes no further than here and back.
        let mirror = service_fn(async |request: Request<Empty<Bytes>>| {
            let mut response = Response::new(());
            *response.headers_mut() = request.into_parts().0.headers;
            Ok::<_, tower::BoxError>(response)
        });
        let mirrored = auth.layer(mirror).oneshot(Request::new(Empty::new())).await;
        mirrored
            .map(|mut response| response.headers_mut().remove(AUTHORIZATION))
            .map_err(|error| {
                tracing::error!(error = %error, "can not get credentials for the Kubernetes API");
                unusable()
            })
    }
}

pub(super) async fn load(
    config: &KubernetesConfig,
    meters: &Arc<TargetMeters>,
) -> Result<Api, String> {
    let kube = kube_config(config).await?;
    if let Some(proxy) = &kube.proxy_url {
        return Err(format!(
            "the kubeconfig asks for the proxy {proxy}, which the agent can not use"
        ));
    }
    let url = kube.cluster_url.clone();
    let host = url
        .host()
        .ok_or("the API server's URL names no host")?
        .trim_matches(['[', ']'])
        .to_owned();
    let https = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if https { 443 } else { 80 });
    let auth = kube.auth_layer().map_err(|error| error.to_string())?;
    let fixed = impersonation_of_our_own(&kube)?;
    if !fixed.is_empty() && config.identity == IdentityMode::Impersonate {
        return Err(
            "the kubeconfig impersonates a user itself; set kubernetes.identity: agent".to_owned(),
        );
    }
    let tls = if https {
        Some(tls(kube, &host).await?)
    } else {
        None
    };
    let authority = url
        .authority()
        .map(|authority| authority.as_str())
        .unwrap_or_default();
    Ok(Api {
        pool: Pool::new(Connector::new(host, port, tls, Arc::clone(meters)), false),
        auth,
        host: HeaderValue::from_str(authority).map_err(|error| error.to_string())?,
        base: url.path().trim_end_matches('/').to_owned(),
        fixed,
    })
}

pub(in crate::agent) async fn kube_config(
    config: &KubernetesConfig,
) -> Result<kube::Config, String> {
    let options = KubeConfigOptions {
        context: config.context.clone(),
        ..KubeConfigOptions::default()
    };
    if let Some(path) = config.kubeconfig.clone() {
        return from_file(path, &options).await;
    }
    if config.context.is_some() {
        return kube::Config::from_kubeconfig(&options)
            .await
            .map_err(|error| error.to_string());
    }
    kube::Config::infer()
        .await
        .map_err(|error| error.to_string())
}

async fn from_file(path: PathBuf, options: &KubeConfigOptions) -> Result<kube::Config, String> {
    let name = path.display().to_string();
    let failed = |error: kube::config::KubeconfigError| format!("{name}: {error}");
    let file = Kubeconfig::read_from(path).map_err(failed)?;
    kube::Config::from_custom_kubeconfig(file, options)
        .await
        .map_err(failed)
}

/// TLS to the API server. An exec plugin may run for it, so it is made beside the data's thread.
async fn tls(
    kube: kube::Config,
    host: &str,
) -> Result<(Arc<rustls::ClientConfig>, ServerName<'static>), String> {
    let name = kube
        .tls_server_name
        .clone()
        .unwrap_or_else(|| host.to_owned());
    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
    let made = tokio::task::spawn_blocking(move || kube.rustls_client_config()).await;
    let mut config = made
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    // Upgrades (exec, attach, port-forward) need HTTP/1.1.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), name))
}

/// A kubeconfig may say that its own user acts as another.
fn impersonation_of_our_own(kube: &kube::Config) -> Result<HeaderMap, String> {
    let mut fixed = HeaderMap::new();
    let bad = |error: http::header::InvalidHeaderValue| error.to_string();
    if let Some(user) = &kube.auth_info.impersonate {
        let name = HeaderName::from_static("impersonate-user");
        fixed.insert(name, HeaderValue::from_str(user).map_err(bad)?);
    }
    for group in kube.auth_info.impersonate_groups.iter().flatten() {
        let name = HeaderName::from_static("impersonate-group");
        fixed.append(name, HeaderValue::from_str(group).map_err(bad)?);
    }
    Ok(fixed)
}

/// What the client is told; the reason, which names paths and addresses, is in the log.
fn unusable() -> ApiError {
    ApiError::new(
        ErrorCode::TargetFailed,
        "the cluster's agent has no usable configuration or credentials for the Kubernetes API; see its log",
    )
}
