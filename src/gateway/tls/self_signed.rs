//! A CA of our own under the state folder, for a first try and for tests.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{Material, TlsError};

/// Years that the CA is valid.
const CA_YEARS: i16 = 10;

/// Makes a certificate for `names`, signed by the CA in `dir`, which is made when missing.
pub(super) fn issue(dir: &Path, names: &[String]) -> Result<Material, TlsError> {
    let issuer = authority(dir)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "pipeops-gateway");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    // A day of clock skew; as long as the CA, since nobody renews a trial's certificate.
    params.not_before = date(-1, 0);
    params.not_after = date(0, CA_YEARS);
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Material {
        chain: certificate.pem().into_bytes(),
        key: key.serialize_pem().into_bytes(),
    })
}

fn authority(dir: &Path) -> Result<Issuer<'static, KeyPair>, TlsError> {
    let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
    let params = ca_params();
    if cert_path.exists() && key_path.exists() {
        let pem = String::from_utf8_lossy(&super::read(&key_path)?).into_owned();
        return Ok(Issuer::new(params, KeyPair::from_pem(&pem)?));
    }
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    write(&key_path, 0o600, &key.serialize_pem())?;
    write(&cert_path, 0o644, &certificate.pem())?;
    Ok(Issuer::new(params, key))
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "pipeops-gateway self-signed CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date(-1, 0);
    params.not_after = date(0, CA_YEARS);
    params
}

fn date(days: i64, years: i16) -> time::OffsetDateTime {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let date = now
        .checked_add(Span::new().days(days).years(years))
        .unwrap_or(now)
        .date();
    rcgen::date_time_ymd(
        date.year().into(),
        u8::try_from(date.month()).unwrap_or(1),
        u8::try_from(date.day()).unwrap_or(1),
    )
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), TlsError> {
    let file_error = |source| TlsError::File {
        path: path.to_owned(),
        source,
    };
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(file_error)?;
    file.write_all(text.as_bytes()).map_err(file_error)
}
