//! Ends what a killed test process leaves: libtest drops no statics, and
//! nothing at all is dropped after SIGKILL.

use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock},
};

/// Reads `PID START_TIME` lines until its standard input closes, then kills
/// those that still are what they were and removes the folder of this process.
const SCRIPT: &str = r#"
while read -r line || [ $? -gt 128 ]; do all+=("$line"); done
for one in "${all[@]}"; do
  read -r pid started <<<"$one"
  if [ "$(sed 's/.*) //' /proc/$pid/stat 2>/dev/null | cut -d' ' -f20)" = "$started" ]; then kill -KILL "$pid"; fi
done
rm -rf "$1"
"#;

struct Reaper {
    _bash: Child,
    pids: Mutex<ChildStdin>,
    temp_root: PathBuf,
}

fn reaper() -> &'static Reaper {
    static REAPER: OnceLock<Reaper> = OnceLock::new();
    REAPER.get_or_init(|| {
        let temp_root = tempfile::Builder::new()
            .prefix("pipeops-test-")
            .tempdir()
            .unwrap()
            .keep();
        let mut bash = Command::new("bash");
        bash.args(["-c", SCRIPT, "reaper"]).arg(&temp_root);
        // A group of its own: Ctrl-C must not reach it before its work is done.
        bash.stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = bash.spawn().expect("bash starts");
        let pids = Mutex::new(child.stdin.take().unwrap());
        Reaper {
            _bash: child,
            pids,
            temp_root,
        }
    })
}

/// The folder of this test process, removed when it ends.
pub fn temp_root() -> &'static Path {
    &reaper().temp_root
}

/// Has `pid` killed when this test process ends, unless it has ended by then.
pub fn watch(pid: u32) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, fields)) = stat.rsplit_once(") ") else {
        return;
    }; // it has ended already
    let Some(started) = fields.split(' ').nth(19) else {
        return;
    };
    let mut pids = reaper().pids.lock().unwrap();
    writeln!(pids, "{pid} {started}").expect("the reaper runs");
}
