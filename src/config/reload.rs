//! Reading the configuration again, on SIGHUP and when its file changes.
//!
//! The file's content is looked at every few seconds: a ConfigMap's volume swaps symlinks several
//! levels up, which file events do not show.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::file::read;
use super::layers::{Inputs, Loaded, build};
use super::live::Live;
use super::log::LogControl;
use super::problem::Problems;
use super::schema::{is_secret, schema};
use super::secret::REDACTED;
use super::settings::Settings;
use super::tree::{Node, Path, Value};
use super::variables::at;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Characters of a value that has changed which the log shows.
const MOST_SHOWN: usize = 200;

/// Keeps a configuration up to date.
#[derive(Debug)]
pub struct Reloader<T> {
    inputs: Inputs,
    in_force: Loaded<T>,
    sender: watch::Sender<Arc<T>>,
    log: LogControl,
    hangups: Signal,
    seen: Seen,
}

/// What the file was when it was last read: its name, and a hash of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen(Option<(PathBuf, [u8; 32])>);

impl Seen {
    fn look<T: Settings>(inputs: &Inputs) -> Self {
        Self(inputs.file::<T>().and_then(|path| {
            let content = read(&path).ok()?;
            Some((path, Sha256::digest(content).into()))
        }))
    }
}

/// What differs between two configurations.
struct Change {
    path: Path,
    old: Node,
    new: Node,
}

impl<T: Settings> Reloader<T> {
    /// Takes SIGHUP over, and remembers what the file is now. Needs a runtime.
    ///
    /// # Errors
    /// That the signal can not be had; rare.
    pub fn new(inputs: Inputs, loaded: Loaded<T>, log: LogControl) -> io::Result<(Self, Live<T>)> {
        let (sender, live) = Live::new(loaded.config.clone());
        let reloader = Self {
            seen: Seen::look::<T>(&inputs),
            inputs,
            in_force: loaded,
            sender,
            log,
            hangups: signal(SignalKind::hangup())?,
        };
        Ok((reloader, live))
    }

    /// Reads again whenever there is reason to, for as long as this is polled.
    pub async fn run(mut self) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = self.hangups.recv() => self.seen = Seen::look::<T>(&self.inputs),
                _ = looks.tick() => {
                    let seen = Seen::look::<T>(&self.inputs);
                    if seen == self.seen {
                        continue;
                    }
                    self.seen = seen;
                }
            }
            self.reload();
        }
    }

    fn reload(&mut self) {
        if self.in_force.file().is_some() && self.inputs.file::<T>().is_none() {
            tracing::warn!("the configuration file has gone; what it said stays in force");
            return;
        }
        match self.read_again() {
            Ok(changes) if changes.is_empty() => {
                tracing::info!("configuration read again; nothing has changed");
            }
            Ok(changes) => self.tell(&changes),
            Err(problems) => {
                tracing::error!(
                    "the new configuration is bad, the old one stays in force\n{problems}"
                );
            }
        }
    }

    /// Puts in force what can be; answers everything that has changed.
    fn read_again(&mut self) -> Result<Vec<Change>, Problems> {
        let new: Loaded<T> = self.inputs.load()?;
        new.validate()?;
        let mut changes = Vec::new();
        compare(
            &self.in_force.tree,
            &new.tree,
            &Path::default(),
            &mut changes,
        );
        let mut tree = new.tree;
        let fixed = changes.iter().filter(|change| !is_live::<T>(&change.path));
        for change in fixed {
            tree.set(&change.path, change.old.clone());
        }
        let next = Loaded {
            config: build::<T>(&tree)?,
            tree,
            source: new.source,
        };
        next.validate()?;
        next.check_files()?;
        self.in_force = next;
        Ok(changes)
    }

    fn tell(&self, changes: &[Change]) {
        let schema = schema::<T>();
        for Change { path, old, new } in changes {
            let secret = at(&schema, path).is_some_and(is_secret);
            let (old, new) = (shown(old, secret), shown(new, secret));
            if is_live::<T>(path) {
                tracing::info!(key = %path, old, new, "configuration changed");
            } else {
                tracing::warn!(key = %path, old, new, "restart to apply: {path}");
            }
        }
        if changes.iter().any(|change| is_live::<T>(&change.path)) {
            let config = &self.in_force.config;
            if let Err(error) = self.log.set_level(&config.log().level) {
                tracing::error!(%error, "the log level stays");
            }
            self.sender.send_replace(Arc::new(config.clone()));
        }
    }
}

fn is_live<T: Settings>(path: &Path) -> bool {
    T::LIVE
        .iter()
        .any(|live| path.is_within(&Path::dotted(live)))
}

/// Finds what differs; lists count as a whole.
fn compare(old: &Node, new: &Node, path: &Path, changes: &mut Vec<Change>) {
    if let (Value::Map(before), Value::Map(after)) = (&old.value, &new.value) {
        let same_keys = before.keys().eq(after.keys());
        if same_keys {
            for ((key, old), new) in before.iter().zip(after.values()) {
                compare(&old.node, &new.node, &path.key(key), changes);
            }
            return;
        }
    }
    if old.to_json() != new.to_json() {
        changes.push(Change {
            path: path.clone(),
            old: old.clone(),
            new: new.clone(),
        });
    }
}

fn shown(node: &Node, secret: bool) -> String {
    let mut text = match &node.value {
        Value::Null => "none".to_owned(),
        _ if secret => REDACTED.to_owned(),
        Value::Text(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
            node.to_json().to_string()
        }
    };
    if let Some((end, _)) = text.char_indices().nth(MOST_SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}
