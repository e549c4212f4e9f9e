//! The possible faults of certificates, as texts for people.

use std::{error::Error, io, path::PathBuf};

use rustls::{AlertDescription, CertificateError};
use thiserror::Error;

/// Why a member's certificates could not be made or used at all.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file is not there, or may not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A text is no certificate or key, or the two do not belong together.
    #[error("the session's certificates are malformed: {0}")]
    Malformed(String),
    /// They could not be made.
    #[error("the session's certificates could not be made: {0}")]
    Issue(String),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Why an encrypted connection did not come about; "it" is the peer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsProblem {
    /// Its certificate was signed by another authority, or is for another role.
    #[error("it presented a certificate of another session ({0})")]
    Stranger(String),
    /// One of two clocks is wrong, or the session is very old.
    #[error("it presented a certificate that is not valid now ({0}); compare the clocks of the two machines")]
    Clock(String),
    /// The peer asked for a certificate and there was none.
    #[error("it presented no certificate")]
    NoCertificate,
    /// The peer refused our certificate.
    #[error("it refused our certificate; is it of another session, or its clock wrong? ({0})")]
    RefusedUs(String),
    /// The peer does not speak TLS.
    #[error("it does not speak TLS")]
    NotTls,
    /// Anything else, such as a connection that broke.
    #[error("no encrypted connection came about: {0}")]
    Other(String),
}

impl TlsProblem {
    /// True if the fault is in an identity, so that trying again would not help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Stranger(_) | Self::Clock(_) | Self::NoCertificate | Self::RefusedUs(_))
    }

    /// The problem among the causes of an error, if it is one. HTTP/2 keeps the words of a cause alone.
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(problem) = error.downcast_ref::<Self>() {
                return Some(problem.clone());
            }
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(problem) = inner.and_then(|inner| inner.downcast_ref::<Self>()) {
                return Some(problem.clone());
            }
            let text = error.to_string();
            if let Some((_, reason)) = text.split_once("it refused our certificate") {
                let reason = reason.rsplit_once('(').map_or("", |(_, reason)| reason.trim_end_matches(')'));
                return Some(Self::RefusedUs(reason.to_owned()));
            }
            cause = error.source();
        }
        None
    }

    pub(super) fn of(error: &io::Error) -> Self {
        use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
        let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Self::Other(error.to_string());
        };
        match tls {
            rustls::Error::InvalidCertificate(
                problem @ (Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. }),
            ) => Self::Clock(problem.to_string()),
            rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
                Self::Stranger("it has another role".to_owned())
            }
            rustls::Error::InvalidCertificate(problem) => Self::Stranger(problem.to_string()),
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            // The second and third are the answers of what repeats our own words: an echo speaks no TLS either.
            rustls::Error::InvalidMessage(_)
            | rustls::Error::InappropriateMessage { .. }
            | rustls::Error::InappropriateHandshakeMessage { .. } => Self::NotTls,
            rustls::Error::AlertReceived(alert) if is_about_certificate(*alert) => {
                Self::RefusedUs(format!("{alert:?}"))
            }
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<TlsProblem> for io::Error {
    fn from(problem: TlsProblem) -> Self {
        Self::new(io::ErrorKind::PermissionDenied, problem)
    }
}

const fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}
