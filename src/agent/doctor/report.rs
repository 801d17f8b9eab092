//! What the doctor found: one finding for each thing that it looked at.

use std::fmt::{self, Write};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::secrets::Secrets;
use crate::build_info::{GIT_COMMIT, VERSION};

/// Characters of a finding's details that are shown; what a peer says may be longer.
const MAX_DETAILS: usize = 600;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work.
    Failed,
    /// Not looked at, and why.
    Skipped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) component: &'static str,
    pub(super) target: String,
    pub(super) status: Status,
    pub(super) details: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<String>,
}

impl Finding {
    fn new(component: &'static str, target: &str, status: Status, details: &str) -> Self {
        Self {
            component,
            target: clean(target),
            status,
            details: clean(details),
            action: None,
        }
    }

    pub(super) fn ok(component: &'static str, target: &str, details: impl AsRef<str>) -> Self {
        Self::new(component, target, Status::Ok, details.as_ref())
    }

    pub(super) fn warning(
        component: &'static str,
        target: &str,
        details: impl AsRef<str>,
        action: impl AsRef<str>,
    ) -> Self {
        Self::new(component, target, Status::Warning, details.as_ref()).advising(action.as_ref())
    }

    pub(super) fn failed(
        component: &'static str,
        target: &str,
        details: impl AsRef<str>,
        action: impl AsRef<str>,
    ) -> Self {
        Self::new(component, target, Status::Failed, details.as_ref()).advising(action.as_ref())
    }

    fn advising(mut self, action: &str) -> Self {
        self.action = Some(clean(action));
        self
    }

    pub(super) fn skipped(component: &'static str, target: &str, why: impl AsRef<str>) -> Self {
        Self::new(component, target, Status::Skipped, why.as_ref())
    }

    fn scrub(&mut self, secrets: &Secrets) {
        self.target = secrets.scrub(&self.target);
        self.details = secrets.scrub(&self.details);
        self.action = self.action.as_deref().map(|action| secrets.scrub(action));
    }
}

/// One line, without what would move a terminal's cursor: some of it was said by a peer.
fn clean(text: &str) -> String {
    let mut clean: String = text
        .trim()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_DETAILS + 1)
        .collect();
    if clean.chars().count() > MAX_DETAILS {
        clean.pop();
        clean.push('…');
    }
    clean
}

/// How many findings of each kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    pub(super) ok: usize,
    pub(super) warning: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

/// All that was found, in the order of the table.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Report {
    version: &'static str,
    git_commit: &'static str,
    #[serde(serialize_with = "whole_seconds")]
    timestamp: Timestamp,
    pub(super) summary: Summary,
    pub(super) checks: Vec<Finding>,
}

fn whole_seconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.strftime("%Y-%m-%dT%H:%M:%SZ"))
}

impl Report {
    /// Puts findings together; no secret is left in them.
    pub(super) fn new(mut checks: Vec<Finding>, secrets: &Secrets) -> Self {
        let mut summary = Summary::default();
        for finding in &mut checks {
            finding.scrub(secrets);
            *match finding.status {
                Status::Ok => &mut summary.ok,
                Status::Warning => &mut summary.warning,
                Status::Failed => &mut summary.failed,
                Status::Skipped => &mut summary.skipped,
            } += 1;
        }
        Self {
            version: VERSION,
            git_commit: GIT_COMMIT,
            timestamp: Timestamp::now(),
            summary,
            checks,
        }
    }

    /// The table, what to do, and the sum of it.
    pub(super) fn table(&self) -> String {
        let width = |column: fn(&Finding) -> usize, title: &str| {
            let widest = self.checks.iter().map(column).max().unwrap_or_default();
            widest.max(title.len())
        };
        let component = width(|finding| finding.component.len(), "COMPONENT");
        let target = width(|finding| finding.target.chars().count(), "TARGET");
        let mut out = String::new();
        let mut line = |cells: [&str; 4]| {
            let [first, second, third, last] = cells;
            let row = format!("{first:component$}  {second:target$}  {third:7}  {last}");
            out.push_str(row.trim_end());
            out.push('\n');
        };
        line(["COMPONENT", "TARGET", "STATUS", "DETAILS"]);
        for finding in &self.checks {
            let status = finding.status.to_string();
            line([
                finding.component,
                &finding.target,
                &status,
                &finding.details,
            ]);
        }
        self.actions(&mut out);
        out.push_str(&format!("\n{}\n", self.sum()));
        out
    }

    fn actions(&self, out: &mut String) {
        let mut first = true;
        for finding in &self.checks {
            let Some(action) = &finding.action else {
                continue;
            };
            if std::mem::take(&mut first) {
                out.push('\n');
            }
            // Writing to a string does not fail.
            writeln!(out, "→ {} {}: {action}", finding.component, finding.target).ok();
        }
    }

    fn sum(&self) -> String {
        let Summary {
            ok,
            warning,
            failed,
            skipped,
        } = self.summary;
        let verdict = match (failed, warning) {
            (0, 0) => "Everything is in order",
            (0, _) => "Nothing has failed",
            _ => "Something has failed",
        };
        format!("{verdict}: {ok} ok, {warning} warning, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let checks = vec![
            Finding::ok("dns", "gw.example.com", "192.0.2.1"),
            Finding::failed(
                "token",
                "gw.example.com:443",
                "it says no\x1b[2J\nreally: hunter22",
                "ask for another",
            ),
            Finding::skipped("carrier", "tls", "token"),
        ];
        Report::new(checks, &Secrets::of(["hunter22"]))
    }

    #[test]
    fn the_table_is_what_was_found_what_to_do_and_a_sum() {
        let expected = "\
COMPONENT  TARGET              STATUS   DETAILS
dns        gw.example.com      ok       192.0.2.1
token      gw.example.com:443  failed   it says no [2J really: ***REDACTED***
carrier    tls                 skipped  token

→ token gw.example.com:443: ask for another

Something has failed: 1 ok, 0 warning, 1 failed, 1 skipped
";
        assert_eq!(report().table(), expected);
    }

    #[test]
    fn json_has_the_same() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["summary"]["failed"], 1);
        assert_eq!(json["checks"][1]["status"], "failed");
        assert_eq!(json["checks"][1]["action"], "ask for another");
        assert!(json["checks"][0].get("action").is_none());
        assert!(!json.to_string().contains("hunter22"));
    }

    #[test]
    fn what_a_peer_says_is_cut() {
        let finding = Finding::ok("tls", "x", "y".repeat(5_000));
        assert_eq!(finding.details.chars().count(), MAX_DETAILS + 1);
    }
}
