//! Who asks, and what they may see.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::time::interval;

use super::AdminConfig;
use crate::wire::error::{ApiError, ErrorCode};

/// How often the token's file is looked at; a new token holds this soon.
const LOOK: Duration = Duration::from_secs(5);

/// The hash of a token: what is compared has one length, whatever is sent.
type Hash = [u8; 32];

/// Where a request comes from, for a limit: one machine is one address in IPv4, and a /64 in IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Caller {
    /// Whoever has the token.
    Token,
    /// Anybody else, by address.
    Address(IpAddr),
}

/// The door of `/info` and `/config`.
pub(super) struct Access {
    token: Cell<Option<Hash>>,
}

impl Access {
    /// As configured; reads the token's file.
    pub(super) fn new(config: &AdminConfig) -> io::Result<Self> {
        let content = file(config).map(std::fs::read).transpose()?;
        let token = token(config, content)?;
        Ok(Self {
            token: Cell::new(token),
        })
    }

    /// Who sent this head from this address.
    pub(super) fn caller(&self, headers: &HeaderMap, peer: IpAddr) -> Caller {
        match (self.token.get(), bearer(headers)) {
            (Some(token), Some(sent)) if bool::from(token.ct_eq(&hash(sent))) => Caller::Token,
            _ => Caller::Address(machine(peer)),
        }
    }

    /// Whether this caller may see the configuration.
    pub(super) fn check(&self, caller: Caller) -> Result<(), ApiError> {
        match caller {
            Caller::Token => Ok(()),
            Caller::Address(_) if self.token.get().is_some() => Err(ApiError::new(
                ErrorCode::Unauthorized,
                "this wants the token of admin.token or admin.token_file as `Authorization: Bearer`",
            )),
            Caller::Address(address) if is_private(address) => Ok(()),
            Caller::Address(_) => Err(ApiError::new(
                ErrorCode::Forbidden,
                "without admin.token only loopback and private addresses may ask for this",
            )),
        }
    }

    /// Takes a new token whenever the configuration in force, or the file that it names, has one.
    pub(super) async fn follow(&self, config: impl Fn() -> AdminConfig) {
        let mut told = String::new();
        let mut ticks = interval(LOOK);
        loop {
            ticks.tick().await;
            match read(&config()).await {
                Ok(new) if new == self.token.get() => {}
                Ok(new) => {
                    self.token.set(new);
                    tracing::info!("the admin token was replaced");
                }
                Err(error) if told == error.to_string() => continue,
                Err(error) => {
                    told = error.to_string();
                    tracing::warn!(%error, "can not read admin.token_file; the last token still holds");
                    continue;
                }
            }
            told.clear();
        }
    }
}

async fn read(config: &AdminConfig) -> io::Result<Option<Hash>> {
    let content = match file(config) {
        Some(file) => Some(tokio::fs::read(file).await?),
        None => None,
    };
    token(config, content)
}

/// The file that holds the token.
fn file(config: &AdminConfig) -> Option<&Path> {
    let file = config.token_file.as_deref();
    file.filter(|_| config.token.is_none())
}

/// The token, given what is in its file.
fn token(config: &AdminConfig, content: Option<Vec<u8>>) -> io::Result<Option<Hash>> {
    match (&config.token, content) {
        (Some(token), _) => Ok(Some(hash(token.expose().trim()))),
        (None, Some(content)) => token_in(&content).map(Some),
        (None, None) => Ok(None),
    }
}

fn token_in(bytes: &[u8]) -> io::Result<Hash> {
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty"));
    }
    Ok(hash(bytes))
}

fn hash(token: impl AsRef<[u8]>) -> Hash {
    Sha256::digest(token).into()
}

/// The bearer token of a head (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

/// What stands for the machine behind an address.
fn machine(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// Loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) and link-local addresses: this
/// machine and, in a cluster, its pods and nodes.
fn is_private(ip: IpAddr) -> bool {
    const SHARED: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 0);
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.to_bits() >> 22 == SHARED.to_bits() >> 22
        }
        // A /64 of loopback is nobody else's: ::/64 has no global addresses.
        IpAddr::V6(ip) => {
            ip.to_bits() >> 64 == 0 || ip.is_unique_local() || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::config::Secret;

    fn open() -> Access {
        Access::new(&AdminConfig::at(0)).unwrap()
    }

    fn at(ip: &str) -> Result<(), ErrorCode> {
        let caller = open().caller(&HeaderMap::new(), ip.parse().unwrap());
        open().check(caller).map_err(|error| error.code)
    }

    fn with(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn without_a_token_only_what_is_near_may_see() {
        for near in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
        ] {
            assert_eq!(at(near), Ok(()), "{near}");
        }
        for far in [
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
        ] {
            assert_eq!(at(far), Err(ErrorCode::Forbidden), "{far}");
        }
    }

    #[test]
    fn with_a_token_nothing_else_counts() {
        let mut config = AdminConfig::at(0);
        config.token = Some(Secret::new("canary"));
        let access = Access::new(&config).unwrap();
        let near = "127.0.0.1".parse().unwrap();
        for good in ["Bearer canary", "bearer canary", "BEARER  canary "] {
            let caller = access.caller(&with(good), near);
            assert_eq!((caller, access.check(caller)), (Caller::Token, Ok(())));
        }
        for bad in [
            "Bearer canar",
            "Bearer canary2",
            "Bearer ",
            "Basic canary",
            "canary",
            "",
        ] {
            let caller = access.caller(&with(bad), near);
            let refused = access.check(caller).unwrap_err();
            assert_eq!(refused.code, ErrorCode::Unauthorized, "{bad}");
            assert!(!refused.to_string().contains("canar"), "{refused}");
        }
    }

    #[test]
    fn a_machine_is_one_caller() {
        let caller = |ip: &str| open().caller(&HeaderMap::new(), ip.parse().unwrap());
        assert_eq!(caller("2001:db8::1"), caller("2001:db8::ffff:1"));
        assert_ne!(caller("2001:db8::1"), caller("2001:db8:0:1::1"));
        assert_eq!(caller("::ffff:1.2.3.4"), caller("1.2.3.4"));
        assert_ne!(caller("1.2.3.4"), caller("1.2.3.5"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "\n").unwrap();
        let mut config = AdminConfig::at(0);
        config.token_file = Some(file.clone());
        assert!(
            Access::new(&config).is_err(),
            "an empty token matches nothing"
        );
        std::fs::write(&file, "one\n").unwrap();
        let access = Access::new(&config).unwrap();
        let is = |token: &str| {
            let sent = with(&format!("Bearer {token}"));
            access.caller(&sent, Ipv4Addr::LOCALHOST.into()) == Caller::Token
        };
        let check = async {
            assert!(is("one"));
            std::fs::write(&file, "two").unwrap();
            while !is("two") {
                tokio::time::sleep(LOOK).await;
            }
            assert!(!is("one"));
            std::fs::remove_file(&file).unwrap();
            tokio::time::sleep(3 * LOOK).await;
            assert!(is("two"), "a file that is gone takes no token away");
        };
        tokio::select! {
            () = access.follow(|| config.clone()) => panic!("it ended"),
            () = check => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_configuration_that_changes_is_followed() {
        let config = std::cell::RefCell::new(AdminConfig::at(0));
        let access = Access::new(&config.borrow()).unwrap();
        let near = Ipv4Addr::LOCALHOST.into();
        let may = |sent: &str| access.check(access.caller(&with(sent), near)).is_ok();
        let check = async {
            assert!(may(""));
            config.borrow_mut().token = Some(Secret::new("one"));
            tokio::time::sleep(2 * LOOK).await;
            assert!(may("Bearer one") && !may(""));
            config.borrow_mut().token = None;
            tokio::time::sleep(2 * LOOK).await;
            assert!(may(""));
        };
        tokio::select! {
            () = access.follow(|| config.borrow().clone()) => panic!("it ended"),
            () = check => {}
        }
    }
}
