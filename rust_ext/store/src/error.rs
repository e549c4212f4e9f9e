//! The errors of a store, split by what the caller can do about them.

use std::{io, path::PathBuf};

use daft_k8s_ipc::{CodecError, Ticket};

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such partition: it was never published here, or it was dropped.
    #[error("partition {0} is not in this store")]
    NotFound(Ticket),
    /// A file operation on a spilled partition failed.
    #[error("cannot {operation} spill file {}: {source}", path.display())]
    SpillFile {
        /// "write", "map" ...
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A spilled partition was changed on its disk, or its file is gone: it is lost.
    #[error("partition {ticket} is lost: its spill file {} {what}", path.display())]
    Lost {
        /// The partition.
        ticket: Ticket,
        /// The file.
        path: PathBuf,
        /// The difference from what was written.
        what: String,
    },
    /// A partition could not be encoded or decoded.
    #[error("spill file {}: {source}", path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// The defect.
        source: CodecError,
    },
}

impl StoreError {
    /// True if trying again cannot help: the partition is not here, or not any more.
    pub fn is_final(&self) -> bool {
        match self {
            Self::NotFound(_) | Self::Lost { .. } | Self::Codec { .. } => true,
            Self::SpillFile { .. } => false,
        }
    }
}
