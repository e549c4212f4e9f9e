//! Calls to the operating system, some of them `unsafe`.
#![allow(unsafe_code)]

use std::{fs::File, io};

use memmap2::{Advice, Mmap};

/// Maps a whole file for reading and asks the kernel to read it ahead.
///
/// The caller promises that nobody changes or truncates the file while it is mapped.
pub(crate) fn map_own_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: spill files are created by this process under fresh names in a directory that only it
    // writes to, are never written again once complete, and are only ever unlinked, which leaves a
    // mapping intact.
    let mapping = unsafe { Mmap::map(file) }?;
    let _ = mapping.advise(Advice::WillNeed);
    Ok(mapping)
}

/// Reads this range of a mapped file into memory. An error of the disk is returned: a mere access would end the process
/// with SIGBUS. Kernels before 5.14 do not know this, and read it upon access.
pub(crate) fn read_mapped(mapping: &Mmap, start: usize, length: usize) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    match mapping.advise_range(Advice::PopulateRead, start, length) {
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => return Err(error),
        _ => {}
    }
    let _ = (mapping, start, length);
    Ok(())
}

/// Gives memory that was freed back to the kernel, where the allocator can do so.
pub(crate) fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes its own locks and may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
