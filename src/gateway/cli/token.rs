//! `token create`, `token list`, `token revoke`.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{CliError, Expiry, Format, Output, table};
use crate::gateway::api::tokens::{CreateToken, CreatedToken, TokenSummary};
use crate::gateway::operator::Operator;
use crate::wire::token::{ClusterId, ClusterName, Role, Scope, Subject, TokenId};

const HEADERS: [&str; 9] = [
    "ID", "KIND", "SUBJECT", "ROLE", "CLUSTERS", "SCOPES", "CREATED", "EXPIRES", "STATUS",
];

/// Make, list and revoke tokens. Works whether the gateway runs or not.
#[derive(Debug, Clone, Subcommand)]
pub enum TokenCommand {
    /// Make a token and print it, once: only a hash of it is kept
    #[command(subcommand)]
    Create(CreateCommand),
    /// List all tokens, the oldest first; secrets are never shown
    List(ListArgs),
    /// Revoke tokens; streams that use them end within a second
    Revoke(RevokeArgs),
}

/// What kind of token to make.
#[derive(Debug, Clone, Subcommand)]
pub enum CreateCommand {
    /// A token with which one cluster's agent connects; registers the cluster when it is new
    Agent(AgentArgs),
    /// A token with which a person or a program sends requests
    User(UserArgs),
}

/// Arguments of `token create agent`.
#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    /// The cluster's name: a-z, 0-9 and -, at most 63 characters
    #[arg(long, value_name = "NAME")]
    pub cluster: ClusterName,
    /// The id for a new cluster, part of its host name tunnel-ID.DOMAIN [default: generated]
    #[arg(long, value_name = "ID")]
    pub cluster_id: Option<ClusterId>,
    /// When the token ends, such as 12h, 90d or never; an agent whose token has ended is locked out
    #[arg(long, value_name = "TIME", default_value = "never")]
    pub expires: Expiry,
    /// How to print the token
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Arguments of `token create user`.
#[derive(Debug, Clone, Args)]
pub struct UserArgs {
    /// Who will hold it, for audit: a name, an e-mail address, a CI job
    #[arg(long, value_name = "WHO")]
    pub subject: Subject,
    /// Inside the cluster, requests are made as the ServiceAccount pipeops-ROLE
    #[arg(long, value_enum, default_value_t = Role::Viewer)]
    pub role: Role,
    /// A cluster it is good for; may be given more than once
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "all_clusters",
        conflicts_with = "all_clusters"
    )]
    pub cluster: Vec<ClusterName>,
    /// It is good for every cluster, also for those registered later
    #[arg(long)]
    pub all_clusters: bool,
    /// What it may do: tunnel:SERVICE, tunnel:*, deploy, exec, logs, read, admin; may be given more than once
    #[arg(long, value_name = "SCOPE", default_value = "tunnel:*")]
    pub scope: Vec<Scope>,
    /// When it ends, such as 12h, 90d or never
    #[arg(long, value_name = "TIME", default_value = "30d")]
    pub expires: Expiry,
    /// How to print the token
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Arguments of `token list`.
#[derive(Debug, Clone, Args)]
pub struct ListArgs {
    /// How to print the list
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Arguments of `token revoke`.
#[derive(Debug, Clone, Args)]
pub struct RevokeArgs {
    /// The 16 characters between the underscores of a token, as token list shows them
    #[arg(value_name = "ID", required = true)]
    pub ids: Vec<TokenId>,
}

impl TokenCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// [`CliError`], with a message for the terminal.
    pub async fn run(&self, operator: &Operator) -> Result<Output, CliError> {
        match self {
            Self::Create(CreateCommand::Agent(args)) => args.run(operator).await,
            Self::Create(CreateCommand::User(args)) => args.run(operator).await,
            Self::List(args) => args.run(operator).await,
            Self::Revoke(args) => args.run(operator).await,
        }
    }
}

impl AgentArgs {
    async fn run(&self, operator: &Operator) -> Result<Output, CliError> {
        let request = CreateToken::Agent {
            cluster: self.cluster.to_string(),
            cluster_id: self.cluster_id.as_ref().map(ToString::to_string),
            expires_at: self.expires.from_now(Timestamp::now())?,
        };
        let created = operator.create_token(&request).await?;
        let output = show(&created, self.output)?;
        if !created.cluster_created {
            return Ok(output);
        }
        let id = created
            .summary
            .clusters
            .first()
            .map(|cluster| cluster.id.as_str())
            .unwrap_or_default();
        Ok(output.hint(format!(
            "registered the new cluster '{}' with the id {id}",
            self.cluster
        )))
    }
}

impl UserArgs {
    async fn run(&self, operator: &Operator) -> Result<Output, CliError> {
        let request = CreateToken::User {
            subject: self.subject.to_string(),
            role: self.role,
            clusters: self.cluster.iter().map(ToString::to_string).collect(),
            all_clusters: self.all_clusters,
            scopes: self.scope.iter().map(ToString::to_string).collect(),
            expires_at: self.expires.from_now(Timestamp::now())?,
        };
        show(&operator.create_token(&request).await?, self.output)
    }
}

/// The token alone, or everything about it. The members `cluster` and `cluster_id` are there for an agent.
fn show(created: &CreatedToken, format: Format) -> Result<Output, CliError> {
    if format == Format::Text {
        return Ok(Output::new(created.token.expose_secret()));
    }
    let mut json = serde_json::to_value(created)?;
    if let ([only], Some(object)) = (created.summary.clusters.as_slice(), json.as_object_mut()) {
        object.insert("cluster".to_owned(), json!(only.name));
        object.insert("cluster_id".to_owned(), json!(only.id));
    }
    Ok(Output::new(serde_json::to_string_pretty(&json)?))
}

impl ListArgs {
    async fn run(&self, operator: &Operator) -> Result<Output, CliError> {
        let tokens = operator.list_tokens().await?;
        if self.output == Format::Json {
            return Ok(Output::new(serde_json::to_string_pretty(&tokens)?));
        }
        let rows: Vec<_> = tokens.iter().map(row).collect();
        Ok(Output::new(table::render(HEADERS, &rows)))
    }
}

fn row(token: &TokenSummary) -> [String; 9] {
    let dash = || "-".to_owned();
    let scopes: Vec<&str> = token.scopes.iter().map(Scope::as_str).collect();
    [
        token.id.to_string(),
        token.kind.to_string(),
        token.subject.to_string(),
        token.role.map_or_else(dash, |role| role.to_string()),
        clusters(token),
        if scopes.is_empty() {
            dash()
        } else {
            scopes.join(",")
        },
        token.created_at.to_string(),
        token
            .expires_at
            .map_or_else(|| "never".to_owned(), |at| at.to_string()),
        token.status.as_str().to_owned(),
    ]
}

fn clusters(token: &TokenSummary) -> String {
    if token.all_clusters {
        return "*".to_owned();
    }
    let names = token
        .clusters
        .iter()
        .map(|c| c.name.as_ref().map_or(c.id.as_str(), ClusterName::as_str));
    names.collect::<Vec<_>>().join(",")
}

impl RevokeArgs {
    /// Stops at the first id that fails. Revoking again changes nothing, so the same line can be run once more.
    async fn run(&self, operator: &Operator) -> Result<Output, CliError> {
        let mut revoked = Vec::new();
        for id in &self.ids {
            let token = operator.revoke_token(*id).await?;
            revoked.push(format!("revoked {} ({})", token.id, token.subject));
        }
        Ok(Output::new(revoked.join("\n")))
    }
}

#[cfg(test)]
mod tests;
