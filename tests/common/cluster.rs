//! The Kubernetes of `tests/kube`, once for this test process. `hold.sh` keeps
//! it for as long as its standard input is open, which ends with this process
//! in whatever way that ends; and it lets one holder at a time on a machine.

use super::{kubeconfig, kubectl::Kubectl, root, temp_dir};
use serde_json::json;
use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::OnceLock,
};

const SKIP: &str = "PIPEOPS_TEST_SKIP_KUBERNETES";

/// A running cluster with this project's manifests applied.
#[derive(Debug)]
pub struct Cluster {
    _hold: ChildStdin,
    pub kubectl_program: PathBuf,
    /// `https://ADDRESS:PORT`, not through the tunnel.
    pub server: String,
    pub addr: SocketAddr,
    pub ca: PathBuf,
    /// kubectl as system:masters, not through the tunnel.
    pub admin: Kubectl,
}

/// Whether the Kubernetes tests are to be left out; says so for this test.
pub fn left_out() -> bool {
    let left_out = env::var_os(SKIP).is_some_and(|v| !v.is_empty() && v != "0");
    if left_out {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        say(&format!("skipped, because {SKIP} is set: {name}"));
    }
    left_out
}

/// The cluster, started by the first caller.
///
/// # Panics
/// Where it cannot start. One line for all tests says what to install.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    let started = CLUSTER.get_or_init(|| {
        let cluster = Cluster::start();
        cluster
            .inspect_err(|why| say(&format!("kubernetes: {why}")))
            .ok()
    });
    started
        .as_ref()
        .expect("a Kubernetes (a line above says what is missing)")
}

/// Writes past libtest's capture.
pub fn say(text: &str) {
    drop(writeln!(io::stderr(), "{text}")); // nobody may be listening
}

impl Cluster {
    fn start() -> Result<Self, String> {
        let mut hold = Command::new(root().join("tests/kube/hold.sh"));
        // A group of its own: Ctrl-C must not reach it before its work is done.
        // Its log goes to a file, so that whoever reads our output sees its end.
        hold.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        let mut child = hold
            .spawn()
            .map_err(|e| format!("tests/kube/hold.sh: {e}"))?;
        let stdin = child.stdin.take().unwrap();
        for line in BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
        {
            match line.split_once(' ') {
                Some(("note", text)) => say(&format!("kubernetes: {text}")),
                Some(("error", text)) => return Err(text.to_owned()),
                Some(("ready", paths)) => {
                    let (kubeconfig, program) = paths.split_once(' ').unwrap();
                    return Ok(Self::with(stdin, Path::new(kubeconfig), Path::new(program)));
                }
                _ => {}
            }
        }
        Err("tests/kube/hold.sh ended without a word".to_owned())
    }

    fn with(hold: ChildStdin, kubeconfig: &Path, program: &Path) -> Self {
        let admin = Kubectl::new(program, kubeconfig);
        let server = admin.ok("config view -o jsonpath={.clusters[0].cluster.server}");
        let addr = server.trim_start_matches("https://").parse().unwrap();
        let ca = kubeconfig.with_file_name("ca.crt");
        let manifests = root().join("deploy/manifests").display().to_string();
        admin.ok(&["apply", "--server-side", "-k", &manifests]);
        Self {
            _hold: hold,
            kubectl_program: program.to_owned(),
            server,
            addr,
            ca,
            admin,
        }
    }

    /// A token of a ServiceAccount in pipeops-system; `more` are flags of
    /// `kubectl create token`.
    pub fn account_token(&self, account: &str, more: &str) -> String {
        self.admin.ok(&format!(
            "create token {account} --namespace pipeops-system {more}"
        ))
    }

    /// A kubeconfig for the agent's own account, its token in the file `token`
    /// beside it, read again when it changes.
    pub fn agent_kubeconfig(&self) -> PathBuf {
        let dir = temp_dir("agent-kubeconfig");
        fs::write(dir.join("token"), self.account_token("pipeops-agent", "")).unwrap();
        let file = dir.join("kubeconfig");
        kubeconfig::write(
            &file,
            &self.server,
            &self.ca,
            None,
            &json!({"tokenFile": dir.join("token")}),
        );
        file
    }

    /// kubectl as this ServiceAccount of pipeops-system, not through the tunnel.
    pub fn account(&self, account: &str) -> Kubectl {
        let file = temp_dir("account").join("kubeconfig");
        let user = json!({"token": self.account_token(account, "")});
        kubeconfig::write(&file, &self.server, &self.ca, None, &user);
        Kubectl::new(&self.kubectl_program, &file)
    }
}
