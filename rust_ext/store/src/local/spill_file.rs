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
    time::Duration,
};

use arrow_buffer::{Buffer, MutableBuffer};
use bytes::Bytes;
use crc32fast::Hasher;
use daft_k8s_ipc::{Origin, PartitionData, StreamError, Ticket, read_checked_stream, write_stream};

use crate::{StoreError, sys};

const LEAST_MAPPED_BYTES: usize = 128 << 10;
/// A multiple of any page's size.
const CHECKED_AT_ONCE_BYTES: usize = 1 << 20;
/// Before each further try to read a file.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(200)];

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
    pub(super) fn write(self: &Arc<Self>, ticket: &Ticket, data: &PartitionData) -> Result<Arc<SpillFile>, StoreError> {
        let (file, path) = self.create()?;
        // Removes the file if any of the following fails.
        let mut spilled = SpillFile {
            ticket: ticket.clone(),
            path,
            size_bytes: data.size_bytes,
            file_bytes: 0,
            checksum: 0,
            _dir: self.clone(),
        };
        let (mut checksum, mut file_bytes) = (Hasher::new(), 0);
        let mut writer = BufWriter::with_capacity(256 * 1024, file);
        let written = write_stream(data, |bytes| {
            // In parts, so that they are still in the processor's cache when they are copied.
            for part in bytes.chunks(CHECKED_AT_ONCE_BYTES) {
                checksum.update(part);
                file_bytes += part.len();
                writer.write_all(part)?;
            }
            Ok(())
        });
        written.map_err(|error| match error {
            StreamError::Codec(source) => StoreError::Codec { path: spilled.path.clone(), source },
            StreamError::Io(source) => spilled.error("write", source),
        })?;
        writer.flush().map_err(|source| spilled.error("write", source))?;
        (spilled.checksum, spilled.file_bytes) = (checksum.finalize(), file_bytes);
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
pub(super) struct SpillFile {
    ticket: Ticket,
    path: PathBuf,
    size_bytes: u64,
    /// The file's length and CRC-32 are kept here, out of reach of whatever damages the file.
    file_bytes: usize,
    checksum: u32,
    /// Keeps the directory's clean-up behind that of its files.
    _dir: Arc<SpillDir>,
}

impl SpillFile {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Maps the partition back: its arrays lie in the page cache, nothing is copied (but what is
    /// too small to be worth a mapping). Reads the file once, to compare its checksum.
    ///
    /// Blocks. An error of the disk is tried again a few times, as it may pass.
    pub(super) fn map(&self) -> Result<PartitionData, StoreError> {
        let mut pauses = PAUSES.iter();
        let bytes = loop {
            let problem = match self.checked_contents() {
                Ok(contents) => break contents,
                Err(problem) => problem,
            };
            match pauses.next() {
                Some(pause) if !problem.is_final() => std::thread::sleep(*pause),
                _ => return Err(problem),
            }
        };
        read_checked_stream(&bytes, self.size_bytes, Origin::Sealed)
            .map_err(|source| StoreError::Codec { path: self.path.clone(), source })
    }

    /// The file's bytes, if they are those that were written.
    ///
    /// Small files are read: a process may have some 65,000 mappings, and more partitions than that.
    fn checked_contents(&self) -> Result<Buffer, StoreError> {
        let failed = |source: io::Error| self.error("read", source);
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.lost("is gone".to_owned())),
            opened => opened.map_err(failed)?,
        };
        let length = file.metadata().map_err(failed)?.len();
        if length != self.file_bytes as u64 {
            return Err(self.lost(format!("has {length} bytes, {} were written", self.file_bytes)));
        }
        let (contents, checksum) = if self.file_bytes >= LEAST_MAPPED_BYTES {
            let mapping = sys::map_own_file(&file).map_err(failed)?;
            let mut checksum = Hasher::new();
            for (at, part) in mapping.chunks(CHECKED_AT_ONCE_BYTES).enumerate() {
                sys::read_mapped(&mapping, at * CHECKED_AT_ONCE_BYTES, part.len()).map_err(failed)?;
                checksum.update(part);
            }
            (Buffer::from(Bytes::from_owner(mapping)), checksum.finalize())
        } else {
            let mut buffer = MutableBuffer::from_len_zeroed(self.file_bytes);
            file.read_exact(&mut buffer).map_err(failed)?;
            let checksum = crc32fast::hash(&buffer);
            (buffer.into(), checksum)
        };
        if checksum != self.checksum {
            return Err(self.lost("was changed after it was written: its checksum does not fit".to_owned()));
        }
        Ok(contents)
    }

    pub(super) fn error(&self, operation: &'static str, source: io::Error) -> StoreError {
        StoreError::SpillFile { operation, path: self.path.clone(), source }
    }

    fn lost(&self, what: String) -> StoreError {
        StoreError::Lost { ticket: self.ticket.clone(), path: self.path.clone(), what }
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
