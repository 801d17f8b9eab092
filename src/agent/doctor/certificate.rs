//! A certificate as people speak of it.

use std::net::IpAddr;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Names of a certificate that are shown.
const SHOWN_NAMES: usize = 3;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Certificate {
    /// Reads one; `None` where it is none.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let time = |at: i64| Timestamp::from_second(at).ok();
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names = alternatives
            .iter()
            .flat_map(|names| &names.value.general_names);
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names.filter_map(name).collect(),
            from: time(certificate.validity().not_before.timestamp())?,
            until: time(certificate.validity().not_after.timestamp())?,
        })
    }

    /// Subject, names, issuer and end in one line.
    pub(super) fn describe(&self, now: Timestamp) -> String {
        let mut names = self.names.clone();
        if names.len() > SHOWN_NAMES {
            names.truncate(SHOWN_NAMES);
            names.push("…".to_owned());
        }
        let subject = if self.subject.is_empty() {
            "without a subject"
        } else {
            &self.subject
        };
        format!(
            "certificate {subject} for {}, by {}, until {} ({})",
            names.join(" "),
            self.issuer,
            self.until.strftime("%Y-%m-%d"),
            distance(now, self.until)
        )
    }

    /// Whole days until it ends; negative after that.
    pub(super) fn days_left(&self, now: Timestamp) -> i64 {
        (self.until.as_second() - now.as_second()).div_euclid(86_400)
    }
}

/// A name that a client may ask for; certificates have other kinds too.
fn name(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::DNSName(name) = name {
        return Some((*name).to_owned());
    }
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    address(bytes).map(|ip| ip.to_string())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

/// How far off a time is: `in 89 days`, `3 hours ago`.
fn distance(now: Timestamp, then: Timestamp) -> String {
    let seconds = then.as_second() - now.as_second();
    let (count, unit) = match seconds.unsigned_abs() {
        seconds @ 0..7_200 => (seconds / 60, "minutes"),
        seconds @ 7_200..172_800 => (seconds / 3_600, "hours"),
        seconds => (seconds / 86_400, "days"),
    };
    if seconds < 0 {
        format!("{count} {unit} ago")
    } else {
        format!("in {count} {unit}")
    }
}
