//! The cluster's API as the account of a role, for what the agent does by itself and for commands.

use http::{HeaderName, HeaderValue};
use kube::Client;

use super::cluster::innermost;
use super::config::{IdentityMode, KubernetesConfig};
use super::target::{EXTRA_SUBJECT, kube_config, service_account};

/// As whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Account {
    /// `viewer`, `editor` or `admin`.
    pub(super) role: String,
    /// On whose behalf, for the cluster's audit log.
    pub(super) subject: Option<String>,
}

impl Account {
    /// Nobody's: what the agent reads of its own accord.
    pub(super) fn viewer() -> Self {
        Self {
            role: "viewer".to_owned(),
            subject: None,
        }
    }

    /// A client with this account's rights. With `identity: agent` they are the agent's own. `namespace` is the agent's.
    /// A credential plugin may block: not for the thread that carries data.
    ///
    /// # Errors
    /// Where there is no usable configuration, or the role has no account (fails closed); in words for the log.
    pub(super) async fn client(
        &self,
        config: &KubernetesConfig,
        namespace: &str,
    ) -> Result<Client, String> {
        let mut kube = kube_config(config).await?;
        let account = service_account(namespace, &self.role).map_err(|error| error.message)?;
        if config.identity == IdentityMode::Impersonate {
            if kube.auth_info.impersonate.is_some() {
                return Err(
                    "the kubeconfig impersonates a user itself; set kubernetes.identity: agent"
                        .to_owned(),
                );
            }
            kube.auth_info.impersonate = Some(account);
            if let Some(subject) = &self.subject {
                let value = HeaderValue::from_str(subject).map_err(|error| error.to_string())?;
                kube.headers
                    .push((HeaderName::from_static(EXTRA_SUBJECT), value));
            }
        }
        Client::try_from(kube).map_err(|error| innermost(&error))
    }
}
