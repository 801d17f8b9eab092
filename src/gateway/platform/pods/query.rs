//! What is asked of a pod, and the request to Kubernetes that it becomes.

use std::fmt::Display;
use std::str::FromStr;

use form_urlencoded::{Serializer, parse};
use jiff::{SignedDuration, Timestamp};
use utoipa::IntoParams;

use crate::gateway::api::field;
use crate::wire::error::ApiError;

/// The bound on a command's arguments, in bytes; the target's own limit is above it.
const MOST_COMMAND: usize = 16 * 1024;

/// The query of `logs`.
#[derive(Debug, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Logs {
    /// The pod.
    pod: String,
    /// Its namespace; `default` when missing.
    #[param(required = false)]
    namespace: String,
    /// The container; needed where the pod has several.
    container: Option<String>,
    /// Only so many of the last lines.
    tail_lines: Option<u64>,
    /// Go on with what is written from now on.
    #[param(required = false)]
    follow: bool,
    /// Only what was written since: RFC 3339, or how long ago (`90s`, `10m`, `2h`).
    #[param(value_type = Option<String>)]
    since: Option<Timestamp>,
    /// Of the container before its last restart.
    #[param(required = false)]
    previous: bool,
    /// Each line begins with its time.
    #[param(required = false)]
    timestamps: bool,
}

/// The query of `exec`.
#[derive(Debug, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Exec {
    /// The pod.
    pub(super) pod: String,
    /// Its namespace; `default` when missing.
    #[param(required = false)]
    pub(super) namespace: String,
    /// The container; the pod's default one when missing.
    pub(super) container: Option<String>,
    /// Program and arguments: given once for each.
    pub(super) command: Vec<String>,
    /// Input is sent.
    #[param(required = false)]
    stdin: bool,
    /// In a terminal.
    #[param(required = false)]
    tty: bool,
}

impl Logs {
    /// Reads it.
    ///
    /// # Errors
    /// 400 with the field that breaks its rule.
    pub(super) fn parse(query: &str, now: Timestamp) -> Result<Self, ApiError> {
        let mut logs = Self::default();
        for (name, value) in parse(query.as_bytes()) {
            match &*name {
                "pod" => logs.pod = value.into_owned(),
                "namespace" => logs.namespace = value.into_owned(),
                "container" => logs.container = Some(value.into_owned()),
                "tail_lines" => logs.tail_lines = Some(number(&name, &value)?),
                "follow" => logs.follow = flag(&name, &value)?,
                "since" => logs.since = Some(moment(&value, now)?),
                "previous" => logs.previous = flag(&name, &value)?,
                "timestamps" => logs.timestamps = flag(&name, &value)?,
                _ => return Err(unknown(&name)),
            }
        }
        check_place(&logs.pod, &mut logs.namespace, logs.container.as_deref())?;
        Ok(logs)
    }

    /// The path and query at the API server.
    pub(super) fn target(&self) -> String {
        let mut query = Serializer::new(String::new());
        if let Some(container) = &self.container {
            query.append_pair("container", container);
        }
        if let Some(lines) = self.tail_lines {
            query.append_pair("tailLines", &lines.to_string());
        }
        if let Some(since) = self.since {
            query.append_pair("sinceTime", &since.to_string());
        }
        append_flags(
            &mut query,
            &[
                ("follow", self.follow),
                ("previous", self.previous),
                ("timestamps", self.timestamps),
            ],
        );
        format!(
            "/api/v1/namespaces/{}/pods/{}/log?{}",
            self.namespace,
            self.pod,
            query.finish()
        )
    }
}

impl Exec {
    /// Reads it.
    ///
    /// # Errors
    /// 400 with the field that breaks its rule.
    pub(super) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut exec = Self::default();
        for (name, value) in parse(query.as_bytes()) {
            match &*name {
                "pod" => exec.pod = value.into_owned(),
                "namespace" => exec.namespace = value.into_owned(),
                "container" => exec.container = Some(value.into_owned()),
                "command" => exec.command.push(value.into_owned()),
                "stdin" => exec.stdin = flag(&name, &value)?,
                "tty" => exec.tty = flag(&name, &value)?,
                _ => return Err(unknown(&name)),
            }
        }
        check_place(&exec.pod, &mut exec.namespace, exec.container.as_deref())?;
        match exec.command.iter().map(String::len).sum() {
            0 => Err(invalid(
                "command",
                &"name a program, and each argument as another `command`",
            )),
            1..=MOST_COMMAND => Ok(exec),
            _ => Err(invalid(
                "command",
                &format!("must have at most {MOST_COMMAND} bytes"),
            )),
        }
    }

    /// The path and query at the API server.
    pub(super) fn target(&self) -> String {
        let mut query = Serializer::new(String::new());
        for argument in &self.command {
            query.append_pair("command", argument);
        }
        if let Some(container) = &self.container {
            query.append_pair("container", container);
        }
        // A terminal has one output; the API server refuses to be asked for another.
        append_flags(
            &mut query,
            &[
                ("stdin", self.stdin),
                ("stdout", true),
                ("stderr", !self.tty),
                ("tty", self.tty),
            ],
        );
        format!(
            "/api/v1/namespaces/{}/pods/{}/exec?{}",
            self.namespace,
            self.pod,
            query.finish()
        )
    }
}

fn append_flags(query: &mut Serializer<'_, String>, flags: &[(&str, bool)]) {
    for (name, _) in flags.iter().filter(|(_, set)| *set) {
        query.append_pair(name, "true");
    }
}

fn check_place(pod: &str, namespace: &mut String, container: Option<&str>) -> Result<(), ApiError> {
    if namespace.is_empty() {
        "default".clone_into(namespace);
    }
    for (name, value) in [
        ("pod", pod),
        ("namespace", namespace),
        ("container", container.unwrap_or("x")),
    ] {
        if !is_name(value) {
            return Err(invalid(
                name,
                &"must be 1 to 253 characters of a-z, 0-9, - and .",
            ));
        }
    }
    Ok(())
}

/// What Kubernetes takes for a name (RFC 1123), as far as it matters in a path.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    (1..=253).contains(&text.len())
        && text.bytes().all(allowed)
        && text.starts_with(|c: char| c != '.')
}

/// A moment, or how long ago it was.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let ago = SignedDuration::from_str(text)
        .ok()
        .filter(|ago| !ago.is_negative());
    let at = ago.and_then(|ago| now.checked_sub(ago).ok());
    at.ok_or_else(|| {
        invalid(
            "since",
            &"must be a time such as 2026-01-15T10:30:45Z, or a duration such as 10m",
        )
    })
}

fn number(name: &str, text: &str) -> Result<u64, ApiError> {
    // Kubernetes' own type for it is signed.
    let most = u64::try_from(i64::MAX).unwrap_or_default();
    let parsed = text.parse().ok().filter(|number| *number <= most);
    parsed.ok_or_else(|| invalid(name, &"must be a number"))
}

fn flag(name: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        "true" | "1" | "" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(invalid(name, &"must be true or false")),
    }
}

fn unknown(name: &str) -> ApiError {
    invalid(name, &"is no parameter of this path")
}

fn invalid(name: &str, reason: &dyn Display) -> ApiError {
    field(name, name, reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn logs(query: &str) -> Result<Logs, ApiError> {
        Logs::parse(query, "2026-01-15T10:30:45Z".parse().unwrap())
    }

    #[test]
    fn logs_become_a_request_to_kubernetes() {
        let query = "pod=my-app&namespace=shop&container=app&tail_lines=5&follow=true&since=10m&previous=false";
        assert_eq!(
            logs(query).unwrap().target(),
            "/api/v1/namespaces/shop/pods/my-app/log?container=app&tailLines=5&sinceTime=2026-01-15T10%3A20%3A45Z&follow=true"
        );
        assert_eq!(
            logs("pod=a").unwrap().target(),
            "/api/v1/namespaces/default/pods/a/log?"
        );
    }

    #[test]
    fn exec_keeps_arguments_apart() {
        let exec =
            Exec::parse("pod=a&command=sh&command=-c&command=echo+%22a%26b%22&tty=1").unwrap();
        assert_eq!(
            exec.target(),
            "/api/v1/namespaces/default/pods/a/exec?command=sh&command=-c&command=echo+%22a%26b%22&stdout=true&tty=true"
        );
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        for (query, name) in [
            ("", "pod"),
            ("pod=a/../b", "pod"),
            ("pod=..", "pod"),
            ("pod=a&namespace=A", "namespace"),
            ("pod=a&container=x%2Fy", "container"),
            ("pod=a&tail_lines=-1", "tail_lines"),
            ("pod=a&follow=maybe", "follow"),
            ("pod=a&since=yesterday", "since"),
            ("pod=a&colour=blue", "colour"),
        ] {
            assert_eq!(logs(query).unwrap_err().details["field"], name, "{query}");
        }
        assert_eq!(
            Exec::parse("pod=a").unwrap_err().details["field"],
            "command"
        );
    }

    proptest! {
        #[test]
        fn a_target_never_leaves_its_pod(query in "[ -~]{0,80}") {
            for target in [logs(&query).map(|q| q.target()), Exec::parse(&query).map(|q| q.target())].into_iter().flatten() {
                let path = target.split('?').next().unwrap();
                prop_assert_eq!(path.split('/').count(), 8);
                prop_assert!(!path.contains("..") || !path.split('/').any(|part| part == ".."));
            }
        }
    }
}
