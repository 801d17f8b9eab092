//! `kubeconfig`: a file with which kubectl reaches a cluster through the gateway.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use data_encoding::{BASE64, HEXLOWER};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{CliError, Expiry, Output};
use crate::gateway::api::tokens::CreateToken;
use crate::gateway::operator::Operator;
use crate::wire::token::{self, ClusterName, MAX_TOKEN_CHARS, Role, Subject, TokenId, TokenKind};

/// Bytes read of a token file: a token and white space around it.
const MAX_TOKEN_FILE: u64 = MAX_TOKEN_CHARS as u64 + 64;

/// Where users reach the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicAddress {
    /// Scheme, host and port, such as `https://gateway.example.com:8443`.
    pub url: String,
    /// The gateway's own CA; `None` when its certificate is publicly trusted.
    pub ca_pem: Option<String>,
}

/// Write a kubeconfig for a cluster: kubectl then works through the gateway
#[derive(Debug, Clone, Args)]
pub struct KubeconfigArgs {
    /// The cluster's name
    #[arg(value_name = "CLUSTER")]
    pub cluster: ClusterName,
    /// Who will use it, for audit
    #[arg(long, value_name = "WHO", env = "USER", default_value = "operator")]
    pub subject: Subject,
    /// Inside the cluster, requests are made as the ServiceAccount pipeops-ROLE
    #[arg(long, value_enum, default_value_t = Role::Viewer)]
    pub role: Role,
    /// When the new token ends, such as 12h, 90d or never
    #[arg(long, value_name = "TIME", default_value = "12h")]
    pub expires: Expiry,
    /// Use the token in this file instead of making one
    #[arg(long, value_name = "FILE", conflicts_with_all = ["role", "expires"])]
    pub token_file: Option<PathBuf>,
    /// Where to write it, readable by you alone; - for standard output [default: ./CLUSTER.kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// The namespace that kubectl uses unless told otherwise
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
}

/// What a kubeconfig says.
#[derive(Debug)]
pub struct Kubeconfig<'a> {
    /// The cluster's name.
    pub cluster: &'a ClusterName,
    /// Whose token it is.
    pub subject: &'a Subject,
    /// The gateway.
    pub address: &'a PublicAddress,
    /// A user's token.
    pub token: &'a SecretString,
    /// The default namespace.
    pub namespace: Option<&'a str>,
}

impl KubeconfigArgs {
    /// Runs the command. A token made for a file that then can't be written is revoked again.
    ///
    /// # Errors
    /// [`CliError`], with a message for the terminal.
    pub async fn run(
        &self,
        operator: &Operator,
        address: &PublicAddress,
    ) -> Result<Output, CliError> {
        let (token, minted) = match &self.token_file {
            Some(path) => (read_token(path)?, None),
            None => self.mint(operator).await?,
        };
        let text = self.render(address, &token);
        let path = match &self.out {
            Some(path) if path.as_os_str() == "-" => return Ok(Output::new(text)),
            Some(path) => path.clone(),
            None => PathBuf::from(format!("{}.kubeconfig", self.cluster)),
        };
        if let Err(error) = write_private(&path, &text) {
            return Err(self.give_up(operator, minted, error).await);
        }
        let path = path.display();
        Ok(Output::new(path.to_string())
            .hint(format!("try: kubectl --kubeconfig '{path}' get namespaces")))
    }

    /// The write's error is the one to report: the token it was for was shown to nobody.
    async fn give_up(
        &self,
        operator: &Operator,
        minted: Option<TokenId>,
        error: CliError,
    ) -> CliError {
        if let Some(id) = minted
            && let Err(error) = operator.revoke_token(id).await
        {
            tracing::warn!(%id, %error, "cannot revoke the token that reached no file");
        }
        error
    }

    fn render(&self, address: &PublicAddress, token: &SecretString) -> String {
        let namespace = self.namespace.as_deref();
        render(&Kubeconfig {
            cluster: &self.cluster,
            subject: &self.subject,
            address,
            token,
            namespace,
        })
    }

    async fn mint(&self, operator: &Operator) -> Result<(SecretString, Option<TokenId>), CliError> {
        let request = CreateToken::User {
            subject: self.subject.to_string(),
            role: self.role,
            clusters: vec![self.cluster.to_string()],
            all_clusters: false,
            scopes: vec!["tunnel:kubernetes".to_owned()],
            expires_at: self.expires.from_now(Timestamp::now())?,
        };
        let created = operator.create_token(&request).await?;
        Ok((created.token, Some(created.summary.id)))
    }
}

/// Reads a file with a user's token in it.
pub(super) fn read_token(path: &Path) -> Result<SecretString, CliError> {
    let file = fs::File::open(path).map_err(|source| CliError::File {
        path: path.to_owned(),
        source,
    })?;
    check_token(file, path)
}

/// Reads a user's token; `path` is for errors.
pub(super) fn check_token(from: impl Read, path: &Path) -> Result<SecretString, CliError> {
    let mut text = String::new();
    let read = from.take(MAX_TOKEN_FILE).read_to_string(&mut text);
    read.map_err(|source| CliError::File {
        path: path.to_owned(),
        source,
    })?;
    let token = SecretString::from(text);
    let text = token.expose_secret().trim();
    match token::parse(text) {
        Ok(parsed) if parsed.kind == TokenKind::User => Ok(SecretString::from(text)),
        Ok(_) => Err(CliError::AgentToken {
            path: path.to_owned(),
        }),
        Err(source) => Err(CliError::TokenFile {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The kubeconfig as YAML, with the token in it: keep it private.
pub fn render(config: &Kubeconfig<'_>) -> String {
    let url = config.address.url.trim_end_matches('/');
    let server = quoted(&format!(
        "{url}/v1/clusters/{}/tunnel/kubernetes",
        config.cluster
    ));
    let name = quoted(&format!("pipeops-{}", config.cluster));
    let user = quoted(&format!("pipeops-{}-{}", config.cluster, config.subject));
    let token = quoted(config.token.expose_secret());
    let member = |key: &str, value: String| format!("    {key}: {}\n", quoted(&value));
    let authority = config
        .address
        .ca_pem
        .as_ref()
        .map(|pem| BASE64.encode(pem.as_bytes()));
    let authority = authority
        .map(|pem| member("certificate-authority-data", pem))
        .unwrap_or_default();
    let namespace = config
        .namespace
        .map(|name| member("namespace", name.to_owned()))
        .unwrap_or_default();
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {name}\n\
         clusters:\n- name: {name}\n  cluster:\n    server: {server}\n{authority}\
         users:\n- name: {user}\n  user:\n    token: {token}\n\
         contexts:\n- name: {name}\n  context:\n    cluster: {name}\n    user: {user}\n{namespace}"
    )
}

/// A JSON string is a YAML scalar that needs no further thought.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Writes a file that only its owner can read, whole or not at all: a new file (0600 from its first byte on) is synced
/// and moved into place.
///
/// # Errors
/// [`CliError::File`].
pub fn write_private(path: &Path, text: &str) -> Result<(), CliError> {
    let fault = |source| CliError::File {
        path: path.to_owned(),
        source,
    };
    let beside = beside(path).map_err(fault)?;
    let written = write_new(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // The first error is the one to report; what can't be removed is empty or private.
        drop(fs::remove_file(&beside));
        fault(source)
    })
}

/// A name in the same directory that nobody can foresee.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}", HEXLOWER.encode(&bytes))))
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests;
