//! Partitions on disk: one Arrow IPC stream each, laid out so that it can be used where it is mapped.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow_buffer::{Buffer, MutableBuffer};
use bytes::Bytes;

use crate::{PartitionData, StoreError, codec, sys};

const LEAST_MAPPED_BYTES: usize = 128 << 10;

/// The directory that holds the files. Goes when the last of them has gone.
#[derive(Debug)]
pub(super) struct SpillDir {
    path: PathBuf,
    next: AtomicU64,
}

impl SpillDir {
    pub(super) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, next: AtomicU64::new(0) })
    }

    /// Writes a partition to a file of its own. Nothing is left behind on failure.
    pub(super) fn write(self: &Arc<Self>, data: &PartitionData) -> Result<Arc<SpillFile>, StoreError> {
        let (file, path) = self.create()?;
        // Removes the file if any of the following fails.
        let spilled = SpillFile { path, size_bytes: data.size_bytes, _dir: self.clone() };
        let mut writer = BufWriter::with_capacity(256 * 1024, file);
        codec::write_stream(data, |bytes| writer.write_all(bytes)).map_err(|error| match error {
            codec::StreamError::Codec(source) => StoreError::Codec { path: spilled.path.clone(), source },
            codec::StreamError::Io(source) => spilled.error("write", source),
        })?;
        writer.flush().map_err(|source| spilled.error("write", source))?;
        Ok(Arc::new(spilled))
    }

    fn create(&self) -> Result<(File, PathBuf), StoreError> {
        loop {
            let path = self.path.join(format!("{}.arrows", self.next.fetch_add(1, Ordering::Relaxed)));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((file, path)),
                // Left over from a process that was killed here.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.path.is_dir() => {
                    DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(&self.path)
                        .map_err(|source| StoreError::SpillFile { operation: "make the directory of", path, source })?;
                }
                Err(source) => return Err(StoreError::SpillFile { operation: "create", path, source }),
            }
        }
    }

    /// Removes the directory if it is empty; if not, that happens with its last file.
    pub(super) fn remove(&self) {
        let _ = std::fs::remove_dir(&self.path);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SpillDir {
    fn drop(&mut self) {
        self.remove();
    }
}

/// A partition on disk. The file goes with the last reference; what is mapped stays readable.
#[derive(Debug)]
pub(crate) struct SpillFile {
    path: PathBuf,
    size_bytes: u64,
    /// Keeps the directory's clean-up behind that of its files.
    _dir: Arc<SpillDir>,
}

impl SpillFile {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Maps the partition back: its arrays lie in the page cache, nothing is copied (but what is
    /// too small to be worth a mapping).
    pub(super) fn map(&self) -> Result<PartitionData, StoreError> {
        let bytes = File::open(&self.path).and_then(contents).map_err(|source| self.error("map", source))?;
        codec::read_own_stream(bytes, self.size_bytes)
            .map_err(|source| StoreError::Codec { path: self.path.clone(), source })
    }

    fn error(&self, operation: &'static str, source: io::Error) -> StoreError {
        StoreError::SpillFile { operation, path: self.path.clone(), source }
    }
}

/// Small files are read: a process may have some 65,000 mappings, and more partitions than that.
fn contents(mut file: File) -> io::Result<Buffer> {
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    if length >= LEAST_MAPPED_BYTES {
        return Ok(Buffer::from(Bytes::from_owner(sys::map_own_file(&file)?)));
    }
    let mut buffer = MutableBuffer::from_len_zeroed(length);
    file.read_exact(&mut buffer)?;
    Ok(buffer.into())
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
