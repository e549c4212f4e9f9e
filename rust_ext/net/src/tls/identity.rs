//! A member's certificate and key, and what is made of them for connections.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Role, TlsError, role::OnlyRoles};

const ALPN_HTTP2: &[u8] = b"h2";

/// Certificates and a key as text.
#[derive(Clone)]
pub struct Pem {
    /// The session's authority.
    pub authority: String,
    /// The member's certificate.
    pub certificate: String,
    /// The member's private key.
    pub key: String,
}

impl Pem {
    /// The names of the files, as Kubernetes' own TLS Secrets have them.
    pub const FILES: [&str; 3] = ["ca.crt", "tls.crt", "tls.key"];

    /// Reads the three files from a folder.
    pub fn read(folder: &Path) -> Result<Self, TlsError> {
        let [authority, certificate, key] = Self::FILES.map(|name| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(|source| TlsError::Read { path, source })
        });
        Ok(Self { authority: authority?, certificate: certificate?, key: key? })
    }
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem(hidden)")
    }
}

/// A member of a session, as it shows itself to others and knows them.
pub struct Identity {
    authority: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Identity {
    /// Parses the texts.
    pub fn from_pem(pem: &Pem) -> Result<Self, TlsError> {
        let wrong =
            |what: &'static str| move |error: &dyn fmt::Display| TlsError::Malformed(format!("{what}: {error}"));
        let mut authority = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.authority.as_bytes()) {
            let certificate = certificate.map_err(|error| wrong("ca.crt")(&error))?;
            authority.add(certificate).map_err(|error| wrong("ca.crt")(&error))?;
        }
        let chain = CertificateDer::pem_slice_iter(pem.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).map_err(|error| wrong("tls.key")(&error))?;
        Ok(Self {
            authority: authority.into(),
            chain: chain.map_err(|error| wrong("tls.crt")(&error))?,
            key,
            provider: provider(),
        })
    }

    /// For connections that this member opens, to workers.
    pub fn client(&self) -> Result<ClientTls, TlsError> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(self.authority.clone())
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        // Connections are few and last, and a full handshake takes a millisecond.
        config.resumption = Resumption::disabled();
        Ok(ClientTls { connector: Arc::new(config).into(), worker: Role::Worker.server_name()? })
    }

    /// For connections that others open, if they have one of these roles.
    pub fn server(&self, from: &[Role]) -> Result<ServerTls, TlsError> {
        let session = WebPkiClientVerifier::builder_with_provider(self.authority.clone(), self.provider.clone())
            .clear_root_hint_subjects() // other callers need not learn which session this is
            .build()
            .map_err(|error| TlsError::Malformed(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(OnlyRoles::new(session, from)?))
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        config.send_tls13_tickets = 0; // nobody resumes, see above
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(ServerTls { acceptor: Arc::new(config).into() })
    }
}

/// AES with 128 bits first: it is as safe as the curve of the certificates, and a third faster than with 256.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != rustls::CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// Opens connections to workers of the session. Clones share it.
#[derive(Clone)]
pub struct ClientTls {
    pub(crate) connector: TlsConnector,
    pub(crate) worker: ServerName<'static>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

/// Takes connections from members of the session. Clones share it.
#[derive(Clone)]
pub struct ServerTls {
    pub(crate) acceptor: TlsAcceptor,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}
