//! The real kubectl, with a home and a cache of its own and a deadline.

use super::{
    process::{Process, Tail},
    reaper, temp_dir,
};
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// For what moves much data through two cores that do everything else too.
pub const BULK_DEADLINE: Duration = Duration::from_secs(1200);

/// kubectl's arguments: a text with blanks between them, or one by one.
pub trait Args {
    fn list(&self) -> Vec<&str>;
}

impl Args for str {
    fn list(&self) -> Vec<&str> {
        self.split_whitespace().collect()
    }
}

impl Args for String {
    fn list(&self) -> Vec<&str> {
        self.as_str().list()
    }
}

impl<const N: usize> Args for [&str; N] {
    fn list(&self) -> Vec<&str> {
        self.to_vec()
    }
}

/// How a command ended. `stdout` is empty where it went elsewhere.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// One user at one address of a cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
    namespace: Option<String>,
    env: Vec<(String, String)>,
    logs: Vec<Tail>,
}

impl Kubectl {
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        let (program, kubeconfig) = (program.to_owned(), kubeconfig.to_owned());
        Self {
            program,
            kubeconfig,
            home: temp_dir("home"),
            namespace: None,
            env: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// The same, with these logs shown when something fails.
    pub fn with_logs(mut self, logs: &[Tail]) -> Self {
        self.logs.extend_from_slice(logs);
        self
    }

    pub fn in_namespace(mut self, name: &str) -> Self {
        self.namespace = Some(name.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with nothing cached: the next command asks for all of discovery.
    pub fn with_cold_cache(mut self) -> Self {
        self.home = temp_dir("home");
        self
    }

    /// The file `name` in kubectl's own folder.
    pub fn home(&self, name: &str) -> PathBuf {
        self.home.join(name)
    }

    pub fn command(&self, args: &(impl Args + ?Sized)) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(&self.home);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.env.iter().map(|(k, v)| (k, v)));
        if let Some(namespace) = &self.namespace {
            command.args(["--namespace", namespace]);
        }
        command.args(args.list());
        command
    }

    /// Starts it to run beside the test.
    pub fn spawn(&self, args: &(impl Args + ?Sized)) -> Process {
        Process::spawn("kubectl", self.command(args).stdin(Stdio::piped()))
    }

    /// Runs it with nothing on its standard input.
    pub fn run(&self, args: &(impl Args + ?Sized)) -> Output {
        self.run_with(args, io::empty())
    }

    /// Runs it with `stdin`, which it sees to its end.
    pub fn run_with(&self, args: &(impl Args + ?Sized), stdin: impl Read + Send) -> Output {
        let mut stdout = Vec::new();
        let mut output = self.pipe(args, stdin, &mut stdout);
        output.stdout = String::from_utf8_lossy(&stdout).into_owned();
        output
    }

    /// Runs it between a reader and a writer.
    pub fn pipe(
        &self,
        args: &(impl Args + ?Sized),
        mut stdin: impl Read + Send,
        stdout: &mut (impl Write + Send),
    ) -> Output {
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        reaper::watch(child.id());
        let mut to = child.stdin.take().unwrap();
        let mut from = child.stdout.take().unwrap();
        let mut errors = child.stderr.take().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                drop(io::copy(&mut stdin, &mut to)); // it may end without reading all
            });
            scope.spawn(move || io::copy(&mut from, stdout).unwrap());
            let stderr = scope.spawn(move || {
                let mut text = Vec::new();
                errors.read_to_end(&mut text).unwrap();
                String::from_utf8_lossy(&text).into_owned()
            });
            let end = Instant::now() + BULK_DEADLINE;
            let mut late = false;
            let status = loop {
                match child.try_wait().unwrap() {
                    Some(status) => break status,
                    None if Instant::now() > end && !late => {
                        late = true;
                        child.kill().unwrap();
                    }
                    None => thread::sleep(Duration::from_millis(10)),
                }
            };
            let stderr = stderr.join().unwrap();
            assert!(
                !late,
                "kubectl {:?} took over {BULK_DEADLINE:?}: {stderr}\n{}",
                args.list(),
                self.tails()
            );
            Output {
                code: status.code(),
                stdout: String::new(),
                stderr,
            }
        })
    }

    /// Runs it, expects success, answers its standard output.
    pub fn ok(&self, args: &(impl Args + ?Sized)) -> String {
        self.ok_with(args, io::empty())
    }

    /// [`Self::ok`] with `stdin`.
    pub fn ok_with(&self, args: &(impl Args + ?Sized), stdin: impl Read + Send) -> String {
        let out = self.run_with(args, stdin);
        assert!(
            out.code == Some(0),
            "kubectl {:?}: {}\n{}",
            args.list(),
            out.stderr,
            self.tails()
        );
        out.stdout
    }

    /// Runs it, expects failure, answers its standard error.
    pub fn fails(&self, args: &(impl Args + ?Sized)) -> String {
        let out = self.run(args);
        assert!(
            out.code != Some(0),
            "kubectl {:?} should fail: {}\n{}",
            args.list(),
            out.stdout,
            self.tails()
        );
        out.stderr
    }

    /// [`Self::ok`] with `-o json`, parsed.
    pub fn json(&self, args: &(impl Args + ?Sized)) -> Value {
        let mut list = args.list();
        list.extend(["-o", "json"]);
        let text = list.join(" ");
        serde_json::from_str(&self.ok(&text)).unwrap()
    }

    /// Creates or changes the object in this manifest.
    pub fn apply(&self, manifest: &Value) -> String {
        let text = manifest.to_string();
        self.ok_with("apply --server-side -f -", io::Cursor::new(text))
    }

    /// The logs given, to be read in a failure.
    pub fn tails(&self) -> String {
        self.logs.iter().map(Tail::to_string).collect()
    }
}
