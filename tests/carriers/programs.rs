//! Real proxies, each with a configuration of its own.

use crate::common::{DEADLINE, eventually, free_port, process::Process, temp_dir};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// A program of Debian's that runs until dropped.
#[derive(Debug)]
pub struct Program {
    pub process: Process,
    pub addr: SocketAddr,
    pub dir: PathBuf,
}

/// Who may use a proxy.
pub type Auth<'a> = Option<(&'a str, &'a str)>;

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// A folder that a program may read after it has dropped its rights.
fn open_dir(name: &str) -> PathBuf {
    let dir = temp_dir(name);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

fn start(name: &str, command: &mut Command, addr: SocketAddr, dir: PathBuf) -> Program {
    let process = Process::spawn(name, command);
    eventually(name, DEADLINE, || {
        TcpStream::connect(addr)
            .map(drop)
            .map_err(|error| format!("{error}\n{}", process.tail()))
    });
    Program { process, addr, dir }
}

/// tinyproxy at this address.
pub fn tinyproxy_at(addr: SocketAddr, auth: Auth<'_>) -> Program {
    let dir = open_dir("tinyproxy");
    let auth = auth.map_or_else(String::new, |(user, password)| {
        format!("BasicAuth {user} {password}\n")
    });
    let config = format!(
        "Port {}\nListen {}\nTimeout 600\nMaxClients 200\nAllow 127.0.0.1\nLogLevel Connect\n{auth}",
        addr.port(),
        addr.ip()
    );
    let file = dir.join("tinyproxy.conf");
    fs::write(&file, config).unwrap();
    start(
        "tinyproxy",
        Command::new("tinyproxy").arg("-d").arg("-c").arg(file),
        addr,
        dir,
    )
}

/// tinyproxy at an address of its own.
pub fn tinyproxy(auth: Auth<'_>) -> Program {
    tinyproxy_at(addr(), auth)
}

/// squid that speaks TLS, with this user; its CA is `ca.crt` in its folder.
pub fn squid_tls(user: &str, password: &str) -> Program {
    let (addr, dir) = (addr(), open_dir("squid"));
    certify(&dir);
    let hashed = Command::new("openssl")
        .args(["passwd", "-apr1", password])
        .output()
        .unwrap();
    let hashed = String::from_utf8(hashed.stdout).unwrap();
    fs::write(dir.join("passwd"), format!("{user}:{hashed}")).unwrap();
    let at = dir.display();
    let config = format!(
        "https_port {addr} tls-cert={at}/server.crt tls-key={at}/server.key\n\
         auth_param basic program /usr/lib/squid/basic_ncsa_auth {at}/passwd\n\
         auth_param basic children 1\nacl users proxy_auth REQUIRED\nacl CONNECT method CONNECT\n\
         http_access allow CONNECT users\nhttp_access deny all\ncache deny all\ncache_mem 8 MB\n\
         cache_log stdio:/dev/stderr\naccess_log stdio:{at}/access.log\npid_filename none\ncoredump_dir {at}\n\
         shutdown_lifetime 0 seconds\nvisible_hostname test\nnetdb_filename none\n"
    );
    let file = dir.join("squid.conf");
    fs::write(&file, config).unwrap();
    for entry in fs::read_dir(&dir).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    start(
        "squid",
        Command::new("squid").arg("-N").arg("-f").arg(file),
        addr,
        dir,
    )
}

/// What an nginx in front of the gateway does with `Upgrade: pipeops-mux`; WebSockets pass.
#[derive(Debug, Clone, Copy)]
pub enum Mux {
    /// It passes.
    Passes,
    /// It is taken out, as of any protocol that a proxy does not know.
    Removed,
    /// It leads to this address.
    To(SocketAddr),
}

/// nginx in front of a gateway at `gateway`, with TLS of its own: `ca.crt` in its folder.
pub fn nginx(gateway: SocketAddr, mux: Mux) -> Program {
    let (addr, dir) = (addr(), open_dir("nginx"));
    certify(&dir);
    fs::write(
        dir.join("nginx.conf"),
        nginx_config(addr, gateway, &dir, mux),
    )
    .unwrap();
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(&dir)
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        .args(["-e", "stderr"]);
    start("nginx", &mut command, addr, dir)
}

impl Program {
    /// Has nginx do something else with new connections; those that it has stay as they are.
    pub fn reload(&self, gateway: SocketAddr, mux: Mux) {
        let config = nginx_config(self.addr, gateway, &self.dir, mux);
        fs::write(self.dir.join("nginx.conf"), config).unwrap();
        self.process.signal("HUP");
    }

    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }
}

fn nginx_config(addr: SocketAddr, gateway: SocketAddr, dir: &Path, mux: Mux) -> String {
    let passes = match mux {
        Mux::Removed => "",
        Mux::Passes | Mux::To(_) => "pipeops-mux pipeops-mux;",
    };
    let elsewhere = match mux {
        Mux::To(addr) => format!("pipeops-mux {addr};"),
        Mux::Passes | Mux::Removed => String::new(),
    };
    let dir = dir.display();
    format!(
        "daemon off; worker_processes 1; pid {dir}/nginx.pid; user root; error_log stderr warn;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n\
         access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;\n\
         map $http_upgrade $upgrade {{ websocket websocket; {passes} default ''; }}\n\
         map $upgrade $switch {{ '' close; default upgrade; }}\n\
         map $http_upgrade $backend {{ {elsewhere} default {gateway}; }}\n\
         server {{\n\
         listen {addr} ssl; ssl_certificate {dir}/server.crt; ssl_certificate_key {dir}/server.key;\n\
         location / {{\n\
         proxy_pass https://$backend; proxy_http_version 1.1; proxy_buffering off;\n\
         proxy_ssl_server_name on; proxy_ssl_name localhost; proxy_ssl_verify off;\n\
         proxy_set_header Host localhost:{}; proxy_set_header Upgrade $upgrade;\n\
         proxy_set_header Connection $switch; proxy_read_timeout 1h; proxy_send_timeout 1h;\n\
         }}}}}}\n",
        gateway.port()
    )
}

/// Writes a CA, and a certificate for localhost.
fn certify(dir: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    fs::write(dir.join("ca.crt"), issuer.pem()).unwrap();
    fs::write(dir.join("server.crt"), cert.pem()).unwrap();
    fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
}
