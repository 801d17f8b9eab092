//! Kubeconfig files, written as JSON (which is YAML).

use serde_json::{Value, json};
use std::{fs, path::Path};

/// One cluster and one user, with this `user` entry as it stands in the file.
pub fn write(file: &Path, server: &str, ca: &Path, proxy: Option<&str>, user: &Value) {
    let mut cluster = json!({"server": server, "certificate-authority": ca});
    if let Some(proxy) = proxy {
        cluster["proxy-url"] = proxy.into();
    }
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": cluster}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": user}],
    });
    fs::write(file, config.to_string()).unwrap();
}

/// A copy of `config` (as `kubectl config view --raw --flatten -o json` shows
/// it) for another address of the same cluster, reached through a proxy.
pub fn readdress(config: &str, file: &Path, server: &str, proxy: &str) {
    let mut config: Value = serde_json::from_str(config).unwrap();
    let cluster = &mut config["clusters"][0]["cluster"];
    cluster["server"] = server.into();
    cluster["proxy-url"] = proxy.into();
    fs::write(file, config.to_string()).unwrap();
}
