//! Where the gateway's configuration comes from, and what in it no single value shows.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{GatewayConfig, PortConfig};
use crate::config::{
    ADMIN_LISTEN, ADMIN_TOKEN, Flag, LOG_FORMAT, LOG_LEVEL, LogConfig, METRICS_LISTEN,
    MONITORING_ENABLED, Named, Path, Settings, Violation, Ways,
};

/// The certificate, of one's own or of our making.
const CERTIFICATE: Ways = &[&["tls.self_signed"], &["tls.cert_file", "tls.key_file"]];

impl Settings for GatewayConfig {
    const PROGRAM: &'static str = "pipeops-gateway";
    const FILES: &'static [&'static str] = &["/etc/pipeops/gateway.yaml"];
    const FILE_VARIABLE: &'static str = "PIPEOPS_GATEWAY_CONFIG";
    const NAMED: &'static [Named] = &[
        Named::both(
            "state_dir",
            "PIPEOPS_GATEWAY_STATE_DIR",
            Flag::new("state-dir", "DIR", "Folder of the store, the admin socket and a self-signed CA").global(),
        ),
        Named::both(
            "public_url",
            "PIPEOPS_GATEWAY_PUBLIC_URL",
            Flag::new(
                "public-url",
                "URL",
                "How clients reach the gateway, for kubeconfigs [default: https://DOMAIN and the listener's port]",
            )
            .global(),
        ),
        LOG_LEVEL,
        LOG_FORMAT,
        Named::both(
            "listen",
            "PIPEOPS_GATEWAY_LISTEN",
            Flag::new("listen", "ADDR:PORT", "Address of the public listener"),
        ),
        Named::both(
            "http_listen",
            "PIPEOPS_GATEWAY_HTTP_LISTEN",
            Flag::new("http-listen", "ADDR:PORT", "Address of a listener without TLS, for a load balancer in front"),
        ),
        Named::both(
            "domain",
            "PIPEOPS_GATEWAY_DOMAIN",
            Flag::new("domain", "DOMAIN", "Clusters have the hosts tunnel-CLUSTER_ID.DOMAIN"),
        ),
        Named::both(
            "tls.cert_file",
            "PIPEOPS_GATEWAY_TLS_CERT",
            Flag::new("tls-cert", "FILE", "Certificate chain, PEM"),
        ),
        Named::both(
            "tls.key_file",
            "PIPEOPS_GATEWAY_TLS_KEY",
            Flag::new("tls-key", "FILE", "The certificate's key, PEM"),
        ),
        Named::both(
            "tls.self_signed",
            "PIPEOPS_GATEWAY_SELF_SIGNED",
            Flag::new(
                "self-signed",
                "BOOL",
                "Make a CA (STATE_DIR/ca.crt) and a certificate instead, for a trial",
            ),
        ),
        Named::both(
            "threads",
            "PIPEOPS_GATEWAY_THREADS",
            Flag::new("threads", "N", "Worker threads [default: one for each core]"),
        ),
        ADMIN_LISTEN,
        METRICS_LISTEN,
        MONITORING_ENABLED,
        Named::both(
            "drain_timeout",
            "PIPEOPS_GATEWAY_DRAIN_TIMEOUT",
            Flag::new("drain-timeout", "TIME", "How long a drain waits for requests under way"),
        ),
    ];
    const ALTERNATIVES: &'static [Ways] = &[CERTIFICATE, ADMIN_TOKEN];
    const LIVE: &'static [&'static str] = &[
        "admin.token",
        "admin.token_file",
        "drain_timeout",
        "log.level",
    ];

    fn log(&self) -> &LogConfig {
        &self.log
    }

    fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        self.check_certificate(&mut found);
        if self
            .http_listen
            .is_some_and(|plain| plain == self.listen && plain.port() != 0)
        {
            let reason = "is the address of `listen`: give it one of its own".to_owned();
            found.push(Violation::new(Path::dotted("http_listen"), reason));
        }
        PortConfig::check(&self.ports, self.listen, &mut found);
        self.admin.violations(&mut found);
        found.extend(self.drain_timeout.check_most(Path::dotted("drain_timeout")));
        found
    }

    fn bad_files(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        let mut bad = |path: &str, reason: String| {
            found.push(Violation::new(Path::dotted(path), reason));
        };
        for (path, file) in [
            ("tls.cert_file", &self.tls.cert_file),
            ("tls.ca_file", &self.tls.ca_file),
        ] {
            let Some(file) = file else { continue };
            let certificates = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>);
            match certificates {
                Ok(some) if !some.is_empty() => {}
                Ok(_) => bad(path, format!("{}: holds no certificate", file.display())),
                Err(error) => bad(path, format!("{}: {error}", file.display())),
            }
        }
        if let Some(file) = &self.tls.key_file
            && let Err(error) = PrivateKeyDer::from_pem_file(file)
        {
            bad("tls.key_file", format!("{}: {error}", file.display()));
        }
        if let Some(file) = &self.admin.token_file
            && let Err(error) = std::fs::read_to_string(file)
        {
            bad("admin.token_file", format!("{}: {error}", file.display()));
        }
        found
    }

    fn remote(&self) -> Option<(Path, String, u16)> {
        None
    }
}

impl GatewayConfig {
    fn check_certificate(&self, found: &mut Vec<Violation>) {
        let (cert, key) = (&self.tls.cert_file, &self.tls.key_file);
        let found_here = match (cert, key, self.tls.self_signed) {
            (Some(_), Some(_), false) | (None, None, true) => return,
            (None, None, false) => (
                "tls",
                "set cert_file and key_file, or self_signed: true for a trial",
            ),
            (_, _, true) => ("tls.self_signed", "goes without cert_file and key_file"),
            (Some(_), None, false) => ("tls.key_file", "is required beside cert_file"),
            (None, Some(_), false) => ("tls.cert_file", "is required beside key_file"),
        };
        let (path, reason) = found_here;
        found.push(Violation::new(Path::dotted(path), reason));
    }
}
