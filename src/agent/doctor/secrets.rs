//! What must not be in anything that the doctor writes, whoever said it.

use std::path::Path;

use kube::config::{AuthInfo, Kubeconfig};
use secrecy::{ExposeSecret, SecretString};

use super::proxy;
use crate::agent::config::AgentConfig;
use crate::agent::dial::read_secret;
use crate::config::REDACTED;

/// Shorter ones are not taken out: they would make holes in everything, and protect nothing.
const SHORTEST: usize = 4;

/// The secrets that the agent's configuration leads to. Findings hold none on purpose; this is for
/// errors of libraries, and for peers that repeat what they were told.
#[derive(Default)]
pub(super) struct Secrets(Vec<SecretString>);

impl Secrets {
    /// These and no others.
    #[cfg(test)]
    pub(super) fn of<const N: usize>(secrets: [&str; N]) -> Self {
        let mut all = Self::default();
        secrets.into_iter().for_each(|secret| all.add(secret));
        all
    }

    /// Those of a configuration, the files that it names, and the environment.
    pub(super) fn collect(config: &AgentConfig) -> Self {
        let mut all = Self::default();
        for secret in [&config.pipeops.token, &config.admin.token] {
            all.add(secret.as_ref().map_or("", |secret| secret.expose()));
        }
        for file in [&config.pipeops.token_file, &config.admin.token_file] {
            all.add_file(file.as_deref());
        }
        for forward in &config.tunnel.forwards {
            all.add_file(forward.authorization_file.as_deref());
        }
        all.add_password_of(config.pipeops.api_url.as_deref().unwrap_or_default());
        let proxy = config.pipeops.proxy.url.as_ref();
        all.add_password_of(proxy.map_or("", |url| url.expose()));
        for url in proxy::urls() {
            all.add_password_of(&url);
        }
        let file = match &config.kubernetes.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        for user in file.into_iter().flat_map(|file| file.auth_infos) {
            user.auth_info.iter().for_each(|user| all.add_user(user));
        }
        all
    }

    fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if secret.len() >= SHORTEST {
            self.0.push(secret.into());
        }
    }

    fn add_file(&mut self, path: Option<&Path>) {
        let Some(secret) = path.and_then(|path| read_secret(path).ok()) else {
            return;
        };
        let secret = secret.expose_secret();
        self.add(secret);
        // `Basic …` and `Bearer …`: the second word alone is as good.
        self.add(secret.split_once(' ').map_or("", |(_, rest)| rest));
    }

    fn add_password_of(&mut self, url: &str) {
        let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        let Some((user, _)) = authority.rsplit_once('@') else {
            return;
        };
        self.add(user);
        self.add(user.split_once(':').map_or("", |(_, password)| password));
    }

    fn add_user(&mut self, user: &AuthInfo) {
        for secret in [&user.token, &user.password, &user.client_key_data] {
            self.add(secret.as_ref().map_or("", |secret| secret.expose_secret()));
        }
        self.add_file(user.token_file.as_deref().map(Path::new));
        let values = user.exec.iter().flat_map(|exec| exec.env.iter().flatten());
        for variable in values {
            self.add(variable.get("value").map_or("", String::as_str));
        }
        if let Some(provider) = &user.auth_provider {
            provider.config.values().for_each(|value| self.add(value));
        }
    }

    /// The text with [`REDACTED`] in the place of each secret.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.expose_secret(), REDACTED)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_is_taken_out() {
        let secrets = Secrets::of(["s3cret", "an"]);
        assert_eq!(
            secrets.scrub("an s3cret in s3crets"),
            "an ***REDACTED*** in ***REDACTED***s"
        );
    }

    #[test]
    fn a_password_in_a_url_is_a_secret() {
        let mut secrets = Secrets::default();
        secrets.add_password_of("http://user:p%40ss@proxy:3128/x");
        secrets.add_password_of("http://proxy:3128");
        assert_eq!(secrets.scrub("p%40ss"), REDACTED);
        assert_eq!(secrets.scrub("proxy:3128"), "proxy:3128");
    }
}
