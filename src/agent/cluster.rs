//! Whether a Kubernetes cluster answers, which one it is, and as whom we are there.

use std::io;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client};
use tokio::time::timeout;

use super::config::KubernetesConfig;
use super::target::kube_config;

/// No cluster can be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClusterError(String);

/// A cluster that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// URL of its API server.
    pub server: String,
    /// The kubeconfig's context; `None` for a pod's own account.
    pub context: Option<String>,
    /// What it runs (`v1.36.3`).
    pub version: String,
    /// Who we are there: as the cluster sees us, or else as the kubeconfig calls us.
    pub user: Option<String>,
}

impl Cluster {
    /// Asks the cluster of this configuration, which has `deadline` to answer. A credential plugin
    /// of the kubeconfig may run before that, and blocks: give this a thread of its own.
    ///
    /// # Errors
    /// [`ClusterError`] when there is no configuration or nobody answers as a cluster does.
    pub async fn probe(
        config: &KubernetesConfig,
        deadline: Duration,
    ) -> Result<Self, ClusterError> {
        let file = match &config.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let kube = match kube_config(config).await {
            Ok(kube) => kube,
            Err(reason) => return Err(ClusterError(absent(file, config, reason).await)),
        };
        let (context, known_as) = file
            .map(|file| names(&file, config.context.as_deref()))
            .unwrap_or_default();
        let server = kube
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned();
        let failed = |error: kube::Error| ClusterError(format!("{server}: {}", innermost(&error)));
        let client = Client::try_from(kube).map_err(failed)?;
        let Ok(asked) = timeout(deadline, ask(client)).await else {
            return Err(ClusterError(format!(
                "{server}: no answer within {} s",
                deadline.as_secs()
            )));
        };
        let (version, seen_as) = asked.map_err(failed)?;
        Ok(Self {
            server,
            context,
            version,
            user: seen_as.or(known_as),
        })
    }
}

/// Why there is no configuration, without what does not matter: of a kubeconfig that is there, what
/// is wrong with it; where there is none, only that.
async fn absent(
    file: Result<Kubeconfig, KubeconfigError>,
    config: &KubernetesConfig,
    reason: String,
) -> String {
    let options = KubeConfigOptions {
        context: config.context.clone(),
        ..KubeConfigOptions::default()
    };
    match file {
        Ok(file) => match kube::Config::from_custom_kubeconfig(file, &options).await {
            Ok(_) => reason,
            Err(error) => error.to_string(),
        },
        Err(KubeconfigError::ReadConfig(error, _))
            if error.kind() == io::ErrorKind::NotFound && config.kubeconfig.is_none() =>
        {
            "no kubeconfig found ($KUBECONFIG, ~/.kube/config), and this is no pod".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

/// The version, and who we are; servers before 1.28 do not say the latter.
async fn ask(client: Client) -> Result<(String, Option<String>), kube::Error> {
    let version = client.apiserver_version().await?.git_version;
    let review = Api::<SelfSubjectReview>::all(client)
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await;
    Ok((
        version,
        review
            .ok()
            .and_then(|review| review.status?.user_info?.username),
    ))
}

/// The context that is used, and its user.
fn names(file: &Kubeconfig, wanted: Option<&str>) -> (Option<String>, Option<String>) {
    let name = wanted
        .map(str::to_owned)
        .or_else(|| file.current_context.clone());
    let context = file
        .contexts
        .iter()
        .find(|context| Some(&context.name) == name.as_ref());
    let user = context.and_then(|context| context.context.as_ref()?.user.clone());
    (name, user)
}

/// What a person can act on is at the bottom of these chains ("connection refused").
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
