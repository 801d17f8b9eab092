//! Other tunnels, as the adapters file (`loadtest/peers/peers.toml`) describes them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::time::sleep;

use super::Running;
use crate::load::endpoint::Endpoint;
use crate::system::free_port;
use crate::world::World;

/// One table of the adapters file; its head says what each key means.
#[derive(Debug, Clone, Deserialize)]
struct Adapter {
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    server: Option<Vec<String>>,
    agent: Option<Vec<String>>,
    front: Option<Vec<String>>,
    url: String,
    #[serde(default)]
    header: String,
}

/// What `{name}` stands for in an adapter's strings.
type Fields = HashMap<String, String>;

/// Starts the peer of this name.
///
/// # Errors
/// When there is none, a program that it needs is missing, or one does not start.
pub(crate) async fn start(world: &World, name: &str) -> Result<Running> {
    let file = &world.args.adapters;
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut adapters: HashMap<String, Adapter> = toml::from_str(&text)?;
    let adapter = adapters.remove(name).with_context(|| {
        let known: Vec<_> = adapters.keys().map(String::as_str).collect();
        format!(
            "there is no peer '{name}' in {}; there are: direct {}",
            file.display(),
            known.join(" ")
        )
    })?;
    let bin = &world.args.peer_bin;
    for program in &adapter.needs {
        ensure!(
            find(program, bin).is_some(),
            "{name} needs {program}, which is neither in {} nor in PATH",
            bin.display()
        );
    }
    let folder = world.nursery.folder(&format!("{name}-{}", free_port()))?;
    let fields = fields(world, &folder, bin)?;
    for (file, text) in &adapter.files {
        std::fs::write(folder.join(file), fill(text, &fields))?;
    }
    let mut processes = Vec::new();
    let (mut server, mut agent) = (Vec::new(), Vec::new());
    let roles = [
        ("server", &adapter.server),
        ("agent", &adapter.agent),
        ("front", &adapter.front),
    ];
    for (role, words) in roles {
        let Some(words) = words else { continue };
        let mut command = command(words, &fields, bin)?;
        let process = world.nursery.spawn(role, &mut command, &folder)?;
        match role {
            "server" => server.push(process.pid()),
            "agent" => agent.push(process.pid()),
            _ => {}
        }
        processes.insert(0, process);
        sleep(Duration::from_millis(400)).await; // who dials must find who listens
    }
    let lines = adapter.header.split('|').filter(|line| !line.is_empty());
    let header: Result<Vec<String>> = lines
        .map(|line| with_files(&fill(line, &fields), &folder))
        .collect();
    let ca = folder.join("cert.pem");
    let endpoint = Endpoint::new(&fill(&adapter.url, &fields), Some(&ca), &header?)?;
    Ok(Running {
        server,
        agent,
        processes,
        ..Running::without_processes(name, endpoint)
    })
}

/// Puts in what the peer itself has written: `{file:NAME}`.
fn with_files(text: &str, folder: &Path) -> Result<String> {
    let Some((before, rest)) = text.split_once("{file:") else {
        return Ok(text.to_owned());
    };
    let (name, after) = rest.split_once('}').context("`{file:` without its end")?;
    let file = folder.join(name);
    let said = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(format!("{before}{}{after}", said.trim()))
}

fn command(words: &[String], fields: &Fields, bin: &Path) -> Result<Command> {
    let mut words = words.iter().map(|word| fill(word, fields));
    let program = words.next().context("an empty command")?;
    let mut command = Command::new(find(&program, bin).unwrap_or_else(|| PathBuf::from(program)));
    command.args(words);
    Ok(command)
}

/// Where a program is: in the peers' folder, or in PATH.
fn find(program: &str, bin: &Path) -> Option<PathBuf> {
    let mut places = vec![bin.join(program)];
    let path = std::env::var_os("PATH").unwrap_or_default();
    places.extend(std::env::split_paths(&path).map(|folder| folder.join(program)));
    places.push(Path::new("/usr/sbin").join(program));
    places.into_iter().find(|place| place.is_file())
}

/// Puts values in for `{name}`; an unknown name stays as it is, for formats that use braces.
fn fill(text: &str, fields: &Fields) -> String {
    let mut filled = text.to_owned();
    for (name, value) in fields {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    filled
}

fn fields(world: &World, folder: &Path, bin: &Path) -> Result<Fields> {
    let mut fields = Fields::new();
    let mut set = |name: &str, value: String| fields.insert(name.to_owned(), value);
    let path = |name: &str| folder.join(name).display().to_string();
    set("bin", bin.display().to_string());
    set("dir", folder.display().to_string());
    set("origin", world.origin.to_string());
    set("ohost", world.origin.ip().to_string());
    set("oport", world.origin.port().to_string());
    set("port", free_port().to_string());
    for n in 1..=5 {
        set(&format!("p{n}"), free_port().to_string());
    }
    set("uds", path("s.sock"));
    set(
        "user",
        std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
    );
    set(
        "helper",
        find("peerbench", bin)
            .unwrap_or_default()
            .display()
            .to_string(),
    );
    certificate(folder)?;
    set("cert", path("cert.pem"));
    set("key", path("key.pem"));
    set("sshkey", path("sshkey"));
    ssh_key(&folder.join("sshkey"));
    let (private, public) = noise_keys(bin).unwrap_or_default();
    set("noise_priv", private);
    set("noise_pub", public);
    Ok(fields)
}

fn certificate(folder: &Path) -> Result<()> {
    let made =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    std::fs::write(folder.join("cert.pem"), made.cert.pem())?;
    Ok(std::fs::write(
        folder.join("key.pem"),
        made.signing_key.serialize_pem(),
    )?)
}

/// For the peers that are SSH; the others do without.
fn ssh_key(file: &Path) {
    let mut command = Command::new("ssh-keygen");
    drop(
        command
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(file)
            .output(),
    );
}

/// A key pair, as rathole makes them.
fn noise_keys(bin: &Path) -> Result<(String, String)> {
    let rathole = find("rathole", bin).context("there is no rathole")?;
    let out = Command::new(rathole).arg("--genkey").output()?;
    let text = String::from_utf8(out.stdout)?;
    let mut keys = text
        .lines()
        .filter(|line| line.len() == 44 && line.ends_with('='));
    match (keys.next(), keys.next()) {
        (Some(private), Some(public)) => Ok((private.to_owned(), public.to_owned())),
        _ => bail!("rathole --genkey prints no keys"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_filled_in_and_other_braces_stay() {
        let fields = Fields::from([("port".to_owned(), "80".to_owned())]);
        assert_eq!(
            fill("listen {port}; events { } {other}", &fields),
            "listen 80; events { } {other}"
        );
    }

    #[test]
    fn the_adapters_file_is_sound() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/peers.toml");
        let text = std::fs::read_to_string(file).unwrap();
        let adapters: HashMap<String, Adapter> = toml::from_str(&text).unwrap();
        for peer in [
            "rathole",
            "rathole-noise",
            "yamux-tls",
            "nginx-http",
            "pipeops",
        ] {
            assert!(adapters.contains_key(peer), "{peer}");
        }
    }
}
