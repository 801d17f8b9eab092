//! What a support ticket needs, as a ZIP without secrets.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::local::Answer;
use super::report::Report;
use super::secrets::Secrets;
use crate::agent::config::AgentConfig;
use crate::build_info::{BUILD_DATE, GIT_COMMIT, RUSTC, VERSION};

/// One file of the bundle, and what the README says of it.
struct Entry {
    name: &'static str,
    about: String,
    text: String,
}

impl Entry {
    fn new(name: &'static str, about: &str, text: String) -> Self {
        Self {
            name,
            about: about.to_owned(),
            text,
        }
    }
}

/// Writes the bundle to a new file that only its owner may read.
///
/// # Errors
/// What the system says; also when the file is there already.
pub(super) fn write(
    path: &Path,
    report: &Report,
    config: Option<&AgentConfig>,
    agent: Vec<(&'static str, Answer)>,
    secrets: &Secrets,
) -> io::Result<()> {
    let mut entries = entries(report, config, agent)?;
    entries.insert(0, readme(&entries));
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let mut zip = ZipWriter::new(file);
    let options = SimpleFileOptions::default().unix_permissions(0o600);
    for entry in entries {
        zip.start_file(entry.name, options)?;
        zip.write_all(secrets.scrub(&entry.text).as_bytes())?;
    }
    zip.finish()?.sync_all()
}

fn entries(
    report: &Report,
    config: Option<&AgentConfig>,
    agent: Vec<(&'static str, Answer)>,
) -> io::Result<Vec<Entry>> {
    let json = serde_json::to_string_pretty(report)?;
    let version =
        format!("pipeops-agent {VERSION}\ncommit {GIT_COMMIT}\nbuilt {BUILD_DATE}\n{RUSTC}\n");
    let mut entries = vec![
        Entry::new(
            "table.txt",
            "what the doctor found, for people",
            report.table(),
        ),
        Entry::new("doctor.json", "the same, for programs", json),
        Entry::new("version.txt", "which build of the agent looked", version),
    ];
    if let Some(config) = config {
        let text = serde_json::to_string_pretty(config)?;
        let about = "the configuration in force, secrets replaced by ***REDACTED***";
        entries.push(Entry::new("config.json", about, text));
    }
    for (name, answer) in agent {
        let about = format!(
            "what the agent on this machine said (status {})",
            answer.status.as_u16()
        );
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        entries.push(Entry::new(name, &about, text));
    }
    Ok(entries)
}

fn readme(entries: &[Entry]) -> Entry {
    let mut text = "\
Written by `pipeops-agent doctor --bundle`, to be added to a support ticket.

It holds no tokens, passwords, keys or credentials of the cluster. It does hold names: of hosts, addresses, files,
the cluster and its services. Read it before you pass it on.

"
    .to_owned();
    for entry in entries {
        text.push_str(&format!("{:12} {}\n", entry.name, entry.about));
    }
    Entry::new("README.txt", "", text)
}
