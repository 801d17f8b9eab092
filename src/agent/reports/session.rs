//! The cluster's API, for as long as one client of it is of use.

use std::convert::Infallible;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;
use tokio::time::{Instant, sleep, timeout};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::Shared;
use super::core::{Api, Core};
use super::nodes::Nodes;
use super::pods::Pods;
use super::services::Services;
use super::usage::measure;
use super::warnings::Warnings;
use super::watch::{LONGEST_WAIT, keep};
use crate::agent::account::Account;
use crate::agent::backoff::Backoff;
use crate::agent::cluster::innermost;
use crate::agent::config::KubernetesConfig;

/// How often the API is asked for its version and for what the nodes measured; as often as there are heartbeats by
/// default, and as metrics-server measures.
const EVERY: Duration = Duration::from_secs(15);

/// One answer that does not come means nothing: it is asked for again this soon.
const AGAIN: Duration = Duration::from_secs(2);

/// How long the version may take.
const ANSWER: Duration = Duration::from_secs(5);

/// So many times without an answer, and the client is made anew: its credentials, or where it goes, may be out of date.
const MAX_SILENT: u32 = 3;

/// The first version whose API server may stream lists (KEP-3157). Older ones pass the word over, and would never end.
const STREAMING_SINCE: u32 = 27;

/// Watches the cluster, by one client after another.
pub(super) async fn watch(
    shared: &Shared,
    config: &KubernetesConfig,
    namespace: &str,
) -> Infallible {
    let mut backoff = Backoff::new();
    loop {
        let account = Account::viewer();
        // What kube has to say about it is said by us, once.
        let client = account.client(config, namespace);
        let state = match client.with_subscriber(NoSubscriber::default()).await {
            Ok(client) => Box::pin(session(shared, &client, &mut backoff)).await,
            Err(why) => Api::NoClient(why),
        };
        let wait = match &state {
            Api::Silent(_) => backoff.next().min(LONGEST_WAIT),
            // A new client may cost a credential plugin.
            Api::NoClient(_) | Api::Answers | Api::Unknown => backoff.next(),
        };
        shared.core.borrow_mut().note_api(state);
        sleep(wait).await;
    }
}

/// Watches the cluster until this client is of no use any more.
async fn session(shared: &Shared, client: &Client, backoff: &mut Backoff) -> Api {
    let streaming = match version(client).await {
        Answer::Version(info) => {
            let streaming = streams(&info);
            shared.core.borrow_mut().answered(Some(info.git_version));
            streaming
        }
        Answer::Refused => false,
        Answer::Unauthorized(why) => return Api::NoClient(why),
        Answer::Silent(why) => return Api::Silent(why),
    };
    backoff.reset();
    let why = tokio::select! {
        state = probe(shared, client) => return state,
        why = keep::<Nodes>(shared, client, streaming) => why,
        why = keep::<Pods>(shared, client, streaming) => why,
        why = keep::<Services>(shared, client, streaming) => why,
        why = keep::<Warnings>(shared, client, streaming) => why,
    };
    Api::NoClient(why)
}

/// Asks for what no watch tells: whether the API answers, its version, and what the nodes measured.
async fn probe(shared: &Shared, client: &Client) -> Api {
    let mut silent = 0;
    loop {
        match version(client).await {
            Answer::Version(info) => {
                silent = 0;
                shared.core.borrow_mut().answered(Some(info.git_version));
            }
            Answer::Refused => {
                silent = 0;
                shared.core.borrow_mut().answered(None);
            }
            Answer::Unauthorized(why) => return Api::NoClient(why),
            Answer::Silent(why) => {
                silent += 1;
                if silent >= MAX_SILENT {
                    return Api::Silent(why);
                }
                if silent > 1 {
                    shared.core.borrow_mut().note_api(Api::Silent(why));
                }
            }
        }
        if silent == 0 {
            let answer = measure(client)
                .with_subscriber(NoSubscriber::default())
                .await;
            shared.core.borrow_mut().measured(answer, Instant::now());
        }
        sleep(if silent == 1 { AGAIN } else { EVERY }).await;
    }
}

/// What came of asking for the version.
#[derive(Debug)]
enum Answer {
    Version(Box<Info>),
    /// It answers, and does not say.
    Refused,
    Unauthorized(String),
    Silent(String),
}

async fn version(client: &Client) -> Answer {
    let asked = client.apiserver_version();
    match timeout(ANSWER, asked.with_subscriber(NoSubscriber::default())).await {
        Ok(Ok(info)) => Answer::Version(Box::new(info)),
        Ok(Err(kube::Error::Api(status))) if status.code == 401 => {
            Answer::Unauthorized(status.message.clone())
        }
        // 500 and more: of a proxy in front of it, or of a server that starts.
        Ok(Err(kube::Error::Api(status))) if status.code < 500 => Answer::Refused,
        Ok(Err(error)) => Answer::Silent(innermost(&error)),
        Err(_) => Answer::Silent(format!("no answer within {} s", ANSWER.as_secs())),
    }
}

/// Whether this server may stream lists. `minor` is `27`, or `27+` where it is somebody's own build.
fn streams(info: &Info) -> bool {
    let digits = info.minor.split(|c: char| !c.is_ascii_digit()).next();
    let minor: u32 = digits.and_then(|digits| digits.parse().ok()).unwrap_or(0);
    info.major == "1" && minor >= STREAMING_SINCE
}

impl Core {
    /// The API answers; what it runs, where it says so.
    fn answered(&mut self, version: Option<String>) {
        self.version = version.or(self.version.take());
        self.note_api(Api::Answers);
    }

    /// Notes how the API is, and logs what is new about it.
    fn note_api(&mut self, state: Api) {
        if self.api == state {
            return;
        }
        match (&state, &self.api) {
            (Api::NoClient(reason) | Api::Silent(reason), _) => {
                tracing::warn!(reason, "the cluster can not be reported on");
            }
            (Api::Answers, Api::NoClient(_) | Api::Silent(_)) => {
                tracing::info!("the cluster is reported on again");
            }
            (Api::Answers | Api::Unknown, _) => {
                tracing::debug!(version = self.version, "the cluster is reported on");
            }
        }
        self.api = state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_know_the_word_are_asked_to_stream() {
        let of = |major: &str, minor: &str| {
            streams(&Info {
                major: major.into(),
                minor: minor.into(),
                ..Info::default()
            })
        };
        assert!(of("1", "27") && of("1", "36+") && of("1", "32-eks"));
        assert!(!of("1", "26") && !of("1", "") && !of("", "30") && !of("2", "0"));
    }
}
