//! Which host name means what.

use crate::wire::error::{ApiError, ErrorCode};

/// What a request's host addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Site {
    /// The platform API, agents' connections and the path form.
    Api,
    /// The host form of the cluster with this id.
    Tunnel(String),
}

/// The names that this gateway answers to.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    api: Vec<String>,
    suffix: String,
}

impl Hosts {
    pub(super) fn new(domain: &str, public_url: &str, more: &[String]) -> Self {
        let domain = domain.to_ascii_lowercase();
        let mut api = vec![domain.clone(), format!("api.{domain}")];
        api.extend(
            public_url
                .parse::<http::Uri>()
                .ok()
                .and_then(|uri| uri.host().map(str::to_owned)),
        );
        api.extend(more.iter().cloned());
        for host in &mut api {
            *host = host
                .to_ascii_lowercase()
                .trim_matches(['[', ']'])
                .to_owned();
        }
        Self {
            api,
            suffix: format!(".{domain}"),
        }
    }

    /// All names of the API, for a certificate.
    pub(super) fn api(&self) -> &[String] {
        &self.api
    }

    /// The service and the cluster's id of `{service}.tunnel-{id}.{domain}`, in lower case.
    pub(super) fn forward<'a>(&self, host: &'a str) -> Option<(&'a str, &'a str)> {
        let (service, host) = host.strip_suffix(self.suffix.as_str())?.split_once('.')?;
        let cluster = host.strip_prefix("tunnel-")?;
        (!cluster.is_empty() && !cluster.contains('.')).then_some((service, cluster))
    }

    /// Resolves a lowercase host.
    ///
    /// # Errors
    /// 421 for a name that is none of ours.
    pub(super) fn site(&self, host: &str) -> Result<Site, ApiError> {
        let host = host.trim_matches(['[', ']']);
        let cluster = host
            .strip_suffix(self.suffix.as_str())
            .and_then(|label| label.strip_prefix("tunnel-"));
        if let Some(cluster) = cluster.filter(|id| !id.is_empty() && !id.contains('.')) {
            return Ok(Site::Tunnel(cluster.to_owned()));
        }
        if self.api.iter().any(|api| api == host) {
            return Ok(Site::Api);
        }
        Err(ApiError::new(
            ErrorCode::MisdirectedRequest,
            format!(
                "this gateway does not serve the host '{host}'; check the URL, or add the host to the gateway's `hosts`"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let hosts = Hosts::new(
            "P.example",
            "https://gw.other:8443",
            &["[::1]".into(), "127.0.0.1".into()],
        );
        assert_eq!(
            hosts.site("tunnel-cls-1.p.example").unwrap(),
            Site::Tunnel("cls-1".into())
        );
        for api in [
            "p.example",
            "api.p.example",
            "gw.other",
            "127.0.0.1",
            "[::1]",
        ] {
            assert_eq!(hosts.site(api).unwrap(), Site::Api, "{api}");
        }
        for none in [
            "evil.example",
            "tunnel-.p.example",
            "tunnel-a.b.p.example",
            "tunnel-a.evil",
            "x.p.example",
        ] {
            assert!(hosts.site(none).is_err(), "{none}");
        }
    }
}
