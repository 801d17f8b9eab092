use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use tokio::sync::mpsc;

use super::*;
use crate::agent::commands::pod::testing::Said;
use crate::agent::config::CommandsConfig;

/// What an API server says to requests for logs, one after another, and whether it falls silent then or ends it. It knows
/// of no pods.
fn server(answers: Vec<(&'static str, bool)>) -> (Client, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri().to_string();
        let (seen, answers) = (Arc::clone(&seen), Arc::clone(&answers));
        async move {
            let answer = uri
                .contains("/log?")
                .then(|| answers.lock().unwrap().next());
            let Some(Some((text, ends))) = answer else {
                let status = r#"{"status":"Failure","code":404,"message":"gone"}"#;
                let gone = Response::builder().status(404);
                return gone.body(
                    Full::from(status)
                        .map_err(|never| match never {})
                        .boxed_unsync(),
                );
            };
            seen.lock().unwrap().push(uri);
            let frame = Ok::<_, std::io::Error>(Frame::data(Bytes::from(text)));
            let rest = if ends {
                stream::empty().boxed()
            } else {
                stream::pending().boxed()
            };
            let body = StreamBody::new(stream::iter([frame]).chain(rest));
            Response::builder().body(body.boxed_unsync())
        }
    });
    (Client::new(service, "shop"), asked)
}

async fn read(client: &Client, command: &Logs) -> (LogsEnd, Said) {
    let (sender, queue) = mpsc::channel(4);
    let policy = Policy::new(&CommandsConfig::default());
    let out = Outgoing::new("c-1", sender, None);
    let cancel = CancellationToken::new();
    tokio::join!(
        logs(client, &policy, command, out, &cancel),
        Said::of(queue)
    )
}

fn followed() -> Logs {
    Logs {
        pod: "web".to_owned(),
        namespace: "shop".to_owned(),
        follow: true,
        tail_lines: Some(5),
        ..Logs::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_log_is_asked_for_again_from_where_it_is() {
    let (client, asked) = server(vec![
        ("2026-01-01T00:00:05.7Z one\n", false),
        (
            "2026-01-01T00:00:05.7Z one\n2026-01-01T00:00:09Z two\n",
            true,
        ),
    ]);
    let before = Instant::now();
    let (end, said) = read(&client, &followed()).await;
    assert_eq!((end.outcome, end.error), (Outcome::Succeeded, None));
    assert_eq!(said.text().0, "one\ntwo\n");
    assert!(before.elapsed() >= QUIET);
    let asked = asked.lock().unwrap();
    assert!(asked[0].contains("tailLines=5") && !asked[0].contains("sinceTime"));
    assert!(
        asked[1].contains("sinceTime=2026-01-01T00%3A00%3A04Z") && !asked[1].contains("tailLines")
    );
}

#[tokio::test(start_paused = true)]
async fn silence_for_days_is_no_failure() {
    let line = "2026-01-01T00:00:05.7Z one\n";
    let mut answers = vec![(line, false); 50];
    answers.push((line, true));
    let (client, _) = server(answers);
    let (end, said) = read(&client, &followed()).await;
    assert_eq!((end.outcome, end.error), (Outcome::Succeeded, None));
    assert_eq!(said.text().0, "one\n");
}

#[tokio::test(start_paused = true)]
async fn refusals_come_before_and_from_the_server() {
    let (client, _) = server(Vec::new());
    let mut command = followed();
    let (end, _) = read(&client, &command).await;
    assert_eq!(
        (end.outcome, end.error.unwrap().code.as_str()),
        (Outcome::Failed, "NOT_FOUND")
    );
    command.pod = "../web".to_owned();
    let (end, _) = read(&client, &command).await;
    assert_eq!(end.outcome, Outcome::Refused);
}
