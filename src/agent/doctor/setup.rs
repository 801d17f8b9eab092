//! The configuration and the files that it names.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::report::Finding;
use crate::agent::config::AgentConfig;
use crate::config::{Loaded, Problems};

/// The permission bits of "others".
const OTHERS: u32 = 0o007;

/// Whether there is a configuration, and it is valid.
pub(super) fn config(
    loaded: &Result<Loaded<AgentConfig>, Problems>,
    source: Option<&Path>,
) -> Finding {
    let source = source.map_or_else(|| "(no file)".to_owned(), |path| path.display().to_string());
    let valid = match loaded {
        Ok(loaded) => loaded.validate().map(|()| &loaded.config),
        Err(problems) => return invalid(&source, problems),
    };
    match valid {
        Ok(config) => {
            let name = config
                .agent
                .cluster_name
                .as_deref()
                .unwrap_or("without a name");
            Finding::ok("config", &source, format!("valid; cluster {name}"))
        }
        Err(problems) => invalid(&source, &problems),
    }
}

/// The first of them; `validate` tells all.
fn invalid(source: &str, problems: &Problems) -> Finding {
    let first = problems.list().first();
    let why = first.map_or_else(String::new, |first| {
        format!("{}: {}", first.path, first.reason)
    });
    let why = why.trim_start_matches(": ");
    let action = "correct it; `pipeops-agent validate` shows where it is wrong";
    Finding::failed("config", source, why, action)
}

/// The files that the agent reads, those with secrets for whether others may read them too.
pub(super) fn files(config: &AgentConfig, source: Option<&Path>) -> Vec<Finding> {
    let mut found = Vec::new();
    if let (Some(path), Some(token)) = (source, &config.pipeops.token)
        && fs::read_to_string(path).is_ok_and(|text| text.contains(token.expose()))
    {
        found.push(secret(path, "holds the agent's token"));
    }
    let mut secrets: Vec<(&PathBuf, &str)> = Vec::new();
    secrets.extend(
        config
            .pipeops
            .token_file
            .iter()
            .map(|path| (path, "the agent's token")),
    );
    secrets.extend(
        config
            .admin
            .token_file
            .iter()
            .map(|path| (path, "the admin token")),
    );
    if config.kubernetes.enabled {
        secrets.extend(
            config
                .kubernetes
                .kubeconfig
                .iter()
                .map(|path| (path, "a kubeconfig")),
        );
    }
    for forward in &config.tunnel.forwards {
        let what = "credentials of a forward";
        secrets.extend(forward.authorization_file.iter().map(|path| (path, what)));
    }
    found.extend(secrets.into_iter().map(|(path, what)| secret(path, what)));
    let cas = config
        .tunnel
        .forwards
        .iter()
        .filter_map(|forward| forward.ca_file.as_ref());
    for path in config.pipeops.ca_file.iter().chain(cas) {
        found.push(match readable(path) {
            Ok(_) => Finding::ok("file", &path.display().to_string(), "a CA, readable"),
            Err(finding) => finding,
        });
    }
    found.dedup();
    found
}

/// A file that only its owner should read.
fn secret(path: &Path, what: &str) -> Finding {
    let mode = match readable(path) {
        Ok(mode) => mode,
        Err(finding) => return finding,
    };
    let name = path.display().to_string();
    if mode & OTHERS == 0 {
        return Finding::ok("file", &name, format!("{what}, mode {mode:04o}"));
    }
    let details = format!("{what}, mode {mode:04o}: every user of this machine may read it");
    let action = format!(
        "`chmod o-rwx {name}`; of a pod's Secret volume, set `defaultMode: 0440` and the pod's fsGroup"
    );
    Finding::warning("file", &name, details, action)
}

/// The file's mode, where we may read it.
fn readable(path: &Path) -> Result<u32, Finding> {
    let metadata = File::open(path).and_then(|file| file.metadata());
    match metadata {
        Ok(metadata) => Ok(metadata.permissions().mode() & 0o7777),
        Err(error) => {
            let name = path.display().to_string();
            let action =
                "check the path in the configuration, and that the agent's user may read the file";
            Err(Finding::failed("file", &name, error.to_string(), action))
        }
    }
}
