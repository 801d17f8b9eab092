//! Whether the cluster's API answers: asked every few seconds, on a thread that may block.

use std::io;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::subscriber::{NoSubscriber, set_default};

use super::cluster::innermost;
use super::config::KubernetesConfig;
use super::target::kube_config;
use crate::admin::Failing;

/// How often the cluster is asked; as often as the kubelet asks us.
const EVERY: Duration = Duration::from_secs(10);

/// How long it may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// The configuration is loaded anew after this long: certificates and kubeconfigs are replaced.
const RELOAD: Duration = Duration::from_secs(300);

/// An answer counts for this long: a credential plugin that hangs takes the thread with it.
const STALE: Duration = Duration::from_secs(30);

/// What is known of the cluster's API.
#[derive(Debug, Clone)]
struct Seen {
    /// When it was last looked at.
    at: Instant,
    /// Why it can not be used, and from when on.
    failing: Option<Failing>,
    /// What it runs, as it last said (`v1.36.3`).
    version: Option<String>,
}

/// What the check found out.
#[derive(Debug, Clone)]
pub(super) struct ClusterCheck(watch::Receiver<Seen>);

impl ClusterCheck {
    /// Looks at the cluster for as long as anybody has what it found out.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(config: &KubernetesConfig) -> io::Result<Self> {
        let unknown = Failing::new("the cluster's API has not answered yet", Timestamp::now());
        let (seen, check) = watch::channel(Seen {
            at: Instant::now(),
            failing: Some(unknown),
            version: None,
        });
        let config = config.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new()
            .name("cluster-check".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = look(&config, &seen) => {}
                        () = seen.closed() => {}
                    }
                });
                runtime.shutdown_background();
            })?;
        Ok(Self(check))
    }

    /// Why the cluster's API can not be used.
    pub(super) fn failing(&self) -> Option<Failing> {
        let seen = self.0.borrow();
        let age = seen.at.elapsed();
        if age <= STALE {
            return seen.failing.clone();
        }
        let now = Timestamp::now();
        let since = now.checked_sub(age).unwrap_or(now);
        let reason = "the check of the cluster's API hangs: a credential plugin, most likely";
        Some(Failing::new(reason, since))
    }

    /// What the cluster runs, if it ever said so.
    pub(super) fn version(&self) -> Option<String> {
        self.0.borrow().version.clone()
    }
}

async fn look(config: &KubernetesConfig, seen: &watch::Sender<Seen>) {
    let mut client = None;
    loop {
        let outcome = ask(config, &mut client).await;
        if outcome.is_err() {
            client = None;
        }
        note(seen, outcome);
        sleep(EVERY).await;
    }
}

/// The cluster's version. What keeps the cluster from answering is told by us, and once.
async fn ask(
    config: &KubernetesConfig,
    client: &mut Option<(Client, Instant)>,
) -> Result<String, String> {
    let _quiet = set_default(NoSubscriber::default());
    let known = client
        .take()
        .filter(|(_, loaded)| loaded.elapsed() < RELOAD);
    let (client, _) = match known {
        Some(known) => client.insert(known),
        None => {
            let kube = kube_config(config).await?;
            let made = Client::try_from(kube).map_err(|error| innermost(&error))?;
            client.insert((made, Instant::now()))
        }
    };
    match timeout(ANSWER, client.apiserver_version()).await {
        Ok(Ok(version)) => Ok(version.git_version),
        Ok(Err(error)) => Err(innermost(&error)),
        Err(_) => Err(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

fn note(seen: &watch::Sender<Seen>, outcome: Result<String, String>) {
    seen.send_modify(|seen| {
        seen.at = Instant::now();
        match outcome {
            Ok(version) => {
                if seen.failing.take().is_some() {
                    tracing::info!(version, "the cluster's API answers");
                }
                seen.version = Some(version);
            }
            Err(why) => {
                let reason = format!("the cluster's API can not be used: {why}");
                let known = seen.failing.as_ref();
                if known.is_none_or(|known| known.reason != reason) {
                    tracing::warn!(reason, "the cluster's API does not answer");
                }
                let since = known.map_or_else(Timestamp::now, |known| known.since);
                seen.failing = Some(Failing::new(reason, since));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_begins_once_and_a_silent_check_is_one() {
        let (seen, check) = watch::channel(Seen {
            at: Instant::now(),
            failing: None,
            version: None,
        });
        let check = ClusterCheck(check);
        note(&seen, Ok("v1".to_owned()));
        assert_eq!(check.failing(), None);
        note(&seen, Err("refused".to_owned()));
        let first = check.failing().unwrap();
        note(&seen, Err("no answer within 5 s".to_owned()));
        let second = check.failing().unwrap();
        assert!(
            second.reason.ends_with("no answer within 5 s"),
            "{second:?}"
        );
        assert_eq!(second.since, first.since);
        note(&seen, Ok("v2".to_owned()));
        assert_eq!(check.failing(), None);
        assert_eq!(check.version().as_deref(), Some("v2"));
        tokio::time::advance(STALE + Duration::from_secs(1)).await;
        assert!(check.failing().unwrap().reason.contains("hangs"));
    }

    #[test]
    fn nobody_at_the_other_end_is_told_in_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("config");
        std::fs::write(&kubeconfig, "apiVersion: v1\nkind: Config\n").unwrap();
        let config = KubernetesConfig {
            kubeconfig: Some(kubeconfig),
            ..KubernetesConfig::default()
        };
        let check = ClusterCheck::start(&config).unwrap();
        let reason = loop {
            let reason = check.failing().unwrap().reason;
            if !reason.contains("yet") {
                break reason;
            }
            thread::sleep(Duration::from_millis(10));
        };
        assert!(
            reason.starts_with("the cluster's API can not be used: "),
            "{reason}"
        );
    }
}
