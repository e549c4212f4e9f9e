//! Making a session's certificates.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, OffsetDateTime};

use super::{Pem, Role, TlsError};

/// The time by which another machine's clock may be behind that of the driver.
const BACK_DATED: Duration = Duration::hours(24);
/// Nothing renews a certificate while a session lasts, so it outlives every session. Its key goes with the Secret.
const VALID: Duration = Duration::days(2 * 365);

/// The certificates that a session's authority has signed, and their keys.
#[derive(Debug)]
pub struct Issued {
    /// For the driver alone.
    pub driver: Pem,
    /// For all workers of the session.
    pub worker: Pem,
}

/// Makes an authority for a session, lets it sign, and forgets its key: nobody can sign another certificate.
pub fn issue(session_id: &str) -> Result<Issued, TlsError> {
    let now = OffsetDateTime::now_utc();
    let mut params = params(&format!("daft-k8s session {session_id}"), vec![], now)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let authority = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let member = |role| sign(role, &issuer, &authority, now);
    Ok(Issued { driver: member(Role::Driver)?, worker: member(Role::Worker)? })
}

fn sign(role: Role, issuer: &Issuer<'_, KeyPair>, authority: &str, now: OffsetDateTime) -> Result<Pem, TlsError> {
    let mut params = params(&role.to_string(), vec![role.dns_name().to_owned()], now)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match role {
        Role::Driver => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Role::Worker => vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
    };
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Pem { authority: authority.to_owned(), certificate: certificate.pem(), key: key.serialize_pem() })
}

fn params(name: &str, dns_names: Vec<String>, now: OffsetDateTime) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(dns_names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = now - BACK_DATED;
    params.not_after = now + VALID;
    Ok(params)
}

impl From<rcgen::Error> for TlsError {
    fn from(error: rcgen::Error) -> Self {
        Self::Issue(error.to_string())
    }
}
