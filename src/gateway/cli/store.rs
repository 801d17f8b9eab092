//! `store backup`, `store restore`, `store check`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{CliError, Output};
use crate::gateway::operator::AdminClient;
use crate::gateway::store::{
    BackupError, BackupFault, Counts, History, RedbStore, Report, restore, verify,
};

/// Where the operator's API has it.
const BACKUP_PATH: &str = "/v1/store/backup";
/// Standard input or output.
const STANDARD: &str = "-";

/// Back up, restore and check what the gateway keeps.
#[derive(Debug, Clone, Subcommand)]
pub enum StoreCommand {
    /// Write all that the gateway keeps into one file; it may run meanwhile
    Backup(BackupArgs),
    /// Put a backup in the place of the store; the gateway must be stopped
    Restore(RestoreArgs),
    /// Check the file and every record in it; the gateway must be stopped
    Check,
}

/// Arguments of `store backup`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// Where to, or - for standard output; a file that is there is replaced once the new one is whole
    #[arg(value_name = "FILE")]
    pub file: String,
}

/// Arguments of `store restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// A file that store backup wrote, or - for standard input
    #[arg(value_name = "FILE")]
    pub file: String,
    /// Also when the store is not empty or cannot be read; it is kept as gateway.redb.before-restore-TIME
    #[arg(long)]
    pub force: bool,
}

impl StoreCommand {
    /// Runs the command on the store in this directory. The disk may block: nothing else runs on this thread.
    ///
    /// # Errors
    /// [`CliError`], with a message for the terminal.
    pub async fn run(&self, state_dir: &Path) -> Result<Output, CliError> {
        match self {
            Self::Backup(args) => args.run(state_dir).await,
            Self::Restore(args) => {
                stopped(state_dir, "restore").await?;
                args.run(state_dir)
            }
            Self::Check => {
                stopped(state_dir, "check").await?;
                show(state_dir, &RedbStore::check(state_dir)?)
            }
        }
    }
}

async fn stopped(state_dir: &Path, what: &'static str) -> Result<(), CliError> {
    match AdminClient::find(state_dir).await? {
        None => Ok(()),
        Some(_) => Err(CliError::Running {
            state_dir: state_dir.to_owned(),
            what,
        }),
    }
}

impl BackupArgs {
    async fn run(&self, state_dir: &Path) -> Result<Output, CliError> {
        if self.file == STANDARD {
            // It may be too large to hold, so it is written while it is read.
            fetch(state_dir, &mut io::stdout().lock()).await?;
            return Ok(Output::new(""));
        }
        let path = Path::new(&self.file);
        let partial = partial(path);
        let made = self.make(state_dir, path, &partial).await;
        let counts = made.inspect_err(|_| drop(fs::remove_file(&partial)))?;
        Ok(Output::new(format!(
            "backed up {counts} to {}",
            path.display()
        )))
    }

    async fn make(
        &self,
        state_dir: &Path,
        path: &Path,
        partial: &Path,
    ) -> Result<Counts, CliError> {
        let failed = |source| CliError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = create_private(partial).map_err(failed)?;
        fetch(state_dir, &mut file).await?;
        file.sync_all().map_err(failed)?;
        let read = File::open(partial).map_err(BackupFault::Read);
        let checked = read.and_then(|file| verify(BufReader::new(file)));
        let counts = checked.map_err(|source| CliError::BackupFile {
            path: path.to_owned(),
            source,
        })?;
        fs::rename(partial, path).map_err(failed)?;
        sync_dir(path).map_err(failed)?;
        Ok(counts)
    }
}

/// Beside the file, so that it can be renamed into its place.
fn partial(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial-{}", std::process::id()))
}

fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// Makes the new name survive a power cut.
fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes a backup of the store: the gateway's that runs, or the file's where none does.
async fn fetch(state_dir: &Path, out: &mut impl Write) -> Result<(), CliError> {
    let mut out = BufWriter::with_capacity(64 << 10, out);
    match AdminClient::find(state_dir).await? {
        Some(gateway) => {
            let put = |piece: &[u8]| Ok(out.write_all(piece).map_err(BackupError::Write)?);
            gateway.download::<CliError>(BACKUP_PATH, put).await?;
        }
        None => drop(RedbStore::open_existing(state_dir)?.backup(&mut out)?),
    }
    Ok(out.flush().map_err(BackupError::Write)?)
}

impl RestoreArgs {
    fn run(&self, state_dir: &Path) -> Result<Output, CliError> {
        let now = Timestamp::now();
        let restored = if self.file == STANDARD {
            restore(state_dir, io::stdin().lock(), self.force, now)
        } else {
            let file = File::open(&self.file).map_err(|source| CliError::File {
                path: self.file.clone().into(),
                source,
            })?;
            restore(state_dir, BufReader::new(file), self.force, now)
        };
        let restored = restored.map_err(|source| CliError::Restore {
            path: self.file.clone(),
            source,
        })?;
        let (counts, path) = (restored.counts, restored.path.display());
        let mut output = Output::new(format!("restored {counts} to {path}"));
        if let Some(aside) = restored.aside {
            output = output.hint(format!("the old store is kept as {}", aside.display()));
        }
        let warn = |output: Output, problem| output.hint(format!("warning: {problem}"));
        Ok(restored.problems.into_iter().fold(output, warn))
    }
}

/// What a check found; an error where that is not good.
fn show(state_dir: &Path, report: &Report) -> Result<Output, CliError> {
    let path = state_dir.join(RedbStore::FILE_NAME);
    if !report.problems.is_empty() {
        let mut problems = report.problems.join("\n  ");
        if report.more > 0 {
            problems.push_str(&format!("\n  and {} more", report.more));
        }
        return Err(CliError::Unsound { path, problems });
    }
    let output = Output::new(format!(
        "{} is sound: schema version {}, {}",
        path.display(),
        report.schema,
        report.counts
    ));
    if report.repaired {
        return Ok(output.hint("the file was at odds with itself and has been put right"));
    }
    Ok(output)
}
