//! The roles of a session's members.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
    client::{danger::HandshakeSignatureValid, verify_server_name},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

/// A member's part in the session; its certificate says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Gives orders to workers, and fetches partitions from them.
    Driver,
    /// Takes orders, and fetches partitions from other workers.
    Worker,
}

impl Role {
    /// The name in the certificate, the same for all members with this role. The dialled address does not matter: a
    /// tunnel, a service and a Pod's address all lead to the same member.
    pub const fn dns_name(self) -> &'static str {
        match self {
            Self::Driver => "driver.daft-k8s.internal",
            Self::Worker => "worker.daft-k8s.internal",
        }
    }

    /// The role that a certificate states.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = ParsedCertificate::try_from(certificate).ok()?;
        let is = |role: &Self| role.server_name().is_ok_and(|name| verify_server_name(&certificate, &name).is_ok());
        [Self::Driver, Self::Worker].into_iter().find(is)
    }

    pub(super) fn server_name(self) -> Result<ServerName<'static>, Error> {
        ServerName::try_from(self.dns_name()).map_err(|error| Error::General(error.to_string()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Driver => "driver",
            Self::Worker => "worker",
        })
    }
}

/// Accepts clients of the session that have one of some roles.
#[derive(Debug)]
pub(super) struct OnlyRoles {
    session: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

impl OnlyRoles {
    pub(super) fn new(session: Arc<dyn ClientCertVerifier>, roles: &[Role]) -> Result<Self, Error> {
        Ok(Self { session, names: roles.iter().map(|role| role.server_name()).collect::<Result<_, _>>()? })
    }
}

impl ClientCertVerifier for OnlyRoles {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.session.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.session.verify_client_cert(end_entity, intermediates, now)?;
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if self.names.iter().any(|name| verify_server_name(&certificate, name).is_ok()) {
            return Ok(verified);
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.session.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.session.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.session.supported_verify_schemes()
    }
}
