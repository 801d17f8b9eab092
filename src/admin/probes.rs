//! The bodies of `/healthz`, `/readyz` and `/livez`, as the API reference has them.

use std::fmt::Write;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::{Check, Component};

/// What `/healthz` says.
#[derive(serde::Serialize)]
pub(super) struct Health<'a> {
    status: &'static str,
    timestamp: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Failure<'a>>,
}

/// What `/readyz` says.
#[derive(serde::Serialize)]
pub(super) struct Readiness<'a> {
    status: &'static str,
    checks: Checks<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Failure<'a>>,
    timestamp: String,
}

/// What `/livez` says.
#[derive(serde::Serialize)]
pub(super) struct Liveness<'a> {
    status: &'static str,
    components: Components<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Failure<'a>>,
    uptime_seconds: u64,
}

#[derive(serde::Serialize)]
struct Failure<'a> {
    check: &'a str,
    reason: &'a str,
    since: String,
}

struct Checks<'a>(&'a [Check]);
struct Components<'a>(&'a [Component]);
struct Fields<'a>(&'a Component);

impl<'a> Health<'a> {
    pub(super) fn of(threads: &'a [Check], now: Timestamp) -> Self {
        Self {
            status: if pass(threads) { "ok" } else { "unhealthy" },
            timestamp: seconds(now),
            failures: failures(threads),
        }
    }
}

impl<'a> Readiness<'a> {
    pub(super) fn of(checks: &'a [Check], now: Timestamp) -> Self {
        Self {
            status: if pass(checks) { "ready" } else { "not_ready" },
            checks: Checks(checks),
            failures: failures(checks),
            timestamp: seconds(now),
        }
    }
}

impl<'a> Liveness<'a> {
    pub(super) fn of(threads: &'a [Check], components: &'a [Component], uptime: u64) -> Self {
        Self {
            status: if pass(threads) { "alive" } else { "unhealthy" },
            components: Components(components),
            failures: failures(threads),
            uptime_seconds: uptime,
        }
    }
}

/// Whether all of them do.
pub(super) fn pass(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.failing.is_none())
}

/// The text that `?verbose` asks for, in the manner of Kubernetes' own probes.
pub(super) fn verbose(probe: &str, checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let name = &check.name;
        // A string takes whatever is written to it.
        let _infallible = match &check.failing {
            None => writeln!(text, "[+]{name} ok"),
            Some(failing) => writeln!(text, "[-]{name} failed: {}", failing.reason),
        };
    }
    let outcome = if pass(checks) { "passed" } else { "failed" };
    text + probe + " check " + outcome + "\n"
}

/// RFC 3339 in whole seconds, UTC, as the API reference has it.
pub fn seconds(time: Timestamp) -> String {
    format!("{time:.0}")
}

fn failures(checks: &[Check]) -> Vec<Failure<'_>> {
    let failing = checks.iter().filter_map(|check| {
        let failing = check.failing.as_ref()?;
        Some(Failure {
            check: &check.name,
            reason: &failing.reason,
            since: seconds(failing.since),
        })
    });
    failing.collect()
}

impl Serialize for Checks<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let outcome = |check: &Check| {
            if check.failing.is_none() {
                "ok"
            } else {
                "failed"
            }
        };
        serializer.collect_map(self.0.iter().map(|check| (&check.name, outcome(check))))
    }
}

impl Serialize for Components<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            self.0
                .iter()
                .map(|component| (component.name, Fields(component))),
        )
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1 + self.0.fields.len()))?;
        let status = if self.0.healthy {
            "healthy"
        } else {
            "unhealthy"
        };
        map.serialize_entry("status", status)?;
        for (name, value) in &self.0.fields {
            map.serialize_entry::<str, Value>(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::Failing;

    fn json(value: &impl Serialize) -> String {
        serde_json::to_string(value).unwrap()
    }

    fn now() -> Timestamp {
        "2024-01-15T10:31:00.5Z".parse().unwrap()
    }

    fn checks(reason: Option<&str>) -> Vec<Check> {
        let since = "2024-01-15T10:30:45.999Z".parse().unwrap();
        vec![
            Check::new("api_connection", None),
            Check::new("tunnel", reason.map(|reason| Failing::new(reason, since))),
        ]
    }

    #[test]
    fn what_passes_reads_as_documented() {
        let checks = checks(None);
        assert_eq!(
            json(&Health::of(&checks, now())),
            r#"{"status":"ok","timestamp":"2024-01-15T10:31:00Z"}"#
        );
        assert_eq!(
            json(&Readiness::of(&checks, now())),
            r#"{"status":"ready","checks":{"api_connection":"ok","tunnel":"ok"},"timestamp":"2024-01-15T10:31:00Z"}"#
        );
        let component = Component {
            name: "tunnel_manager",
            healthy: true,
            fields: vec![("active_tunnels", json!(3))],
        };
        assert_eq!(
            json(&Liveness::of(&checks, &[component], 3600)),
            r#"{"status":"alive","components":{"tunnel_manager":{"status":"healthy","active_tunnels":3}},"uptime_seconds":3600}"#
        );
        assert_eq!(
            verbose("readyz", &checks),
            "[+]api_connection ok\n[+]tunnel ok\nreadyz check passed\n"
        );
    }

    #[test]
    fn what_fails_says_why_and_since_when() {
        let checks = checks(Some("no carrier"));
        let failures = r#""failures":[{"check":"tunnel","reason":"no carrier","since":"2024-01-15T10:30:45Z"}]"#;
        assert_eq!(
            json(&Readiness::of(&checks, now())),
            format!(
                r#"{{"status":"not_ready","checks":{{"api_connection":"ok","tunnel":"failed"}},{failures},"timestamp":"2024-01-15T10:31:00Z"}}"#
            )
        );
        assert_eq!(
            json(&Health::of(&checks, now())),
            format!(r#"{{"status":"unhealthy","timestamp":"2024-01-15T10:31:00Z",{failures}}}"#)
        );
        assert_eq!(
            json(&Liveness::of(&checks, &[], 1)),
            format!(r#"{{"status":"unhealthy","components":{{}},{failures},"uptime_seconds":1}}"#)
        );
        assert_eq!(
            verbose("livez", &checks),
            "[+]api_connection ok\n[-]tunnel failed: no carrier\nlivez check failed\n"
        );
    }
}
