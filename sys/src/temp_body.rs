//! A large mail on disk: a private file that has no name, written once, then mapped read-only.
//! Nobody else can open, truncate or find it, and the system frees it even after a crash. It never
//! holds decrypted bytes.
#![allow(unsafe_code)]

use std::{
    fs::File,
    io::{self, Write},
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    os::unix::fs::MetadataExt,
    path::Path,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::{
    fs::{CWD, Mode, OFlags, StatVfsMountFlags, fcntl_getfl, fstat, openat, unlinkat},
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

/// A private unlinked file that is being written.
#[derive(Debug)]
pub struct TempBody {
    file: File,
    len: u64,
}

impl TempBody {
    /// Makes one in `folder`, mode 0600, without a name.
    ///
    /// # Errors
    ///
    /// [`TempBodyError::Full`] when there is no room, [`TempBodyError::Storage`] otherwise.
    pub fn create_in(folder: &Path) -> Result<Self, TempBodyError> {
        let mode = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = match openat(CWD, folder, flags, mode) {
            // File systems without O_TMPFILE (some overlays and network ones) say one of these.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {
                named_then_unlinked(folder, mode)?
            }
            other => other?,
        };
        Ok(Self {
            file: File::from(fd),
            len: 0,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// As [`TempBody::create_in`]. After an error the file is of no use.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), TempBodyError> {
        self.file.write_all(bytes)?;
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends writing and maps what was written.
    ///
    /// # Errors
    ///
    /// When the system cannot map it.
    pub fn map(self) -> Result<Mapped, TempBodyError> {
        let mut mapped = map(&self.file, self.len)?;
        // Another process may be handed what can read and not write.
        let to_read = File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()));
        mapped.to_read = to_read.ok();
        // The descriptor that can write is closed here.
        Ok(mapped)
    }
}

fn map(file: &File, len: u64) -> Result<Mapped, Errno> {
    let len = usize::try_from(len).map_err(|_| Errno::FBIG)?;
    if len == 0 {
        return Ok(Mapped {
            start: NonNull::dangling(),
            len,
            to_read: None,
        });
    }
    // SAFETY: a null hint lets the kernel choose the place, so no existing mapping is touched.
    let start = unsafe {
        mmap(
            std::ptr::null_mut(),
            len,
            ProtFlags::READ,
            MapFlags::SHARED,
            file,
            0,
        )
    }?;
    let start = NonNull::new(start.cast()).ok_or(Errno::NOMEM)?;
    Ok(Mapped {
        start,
        len,
        to_read: None,
    })
}

impl Mapped {
    /// Maps a file that was written whole and is never written again, in a folder that is ours alone. Where it
    /// is replaced, that has to be by another file under its name, or removed: what is mapped stays as it is.
    ///
    /// # Errors
    ///
    /// When the file can be written or read by others, or the system cannot map it.
    pub fn finished(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        // Who could write it could change what is read while it is read.
        if metadata.mode() & 0o022 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("it can be written by others"));
        }
        Ok(map(file, metadata.len())?)
    }

    /// Maps a finished [`TempBody`] that another process has, which never writes it again and has handed over its
    /// [`Mapped::descriptor`].
    ///
    /// # Errors
    ///
    /// When the descriptor could write, or the system cannot map it.
    pub fn handed(descriptor: OwnedFd) -> io::Result<Self> {
        let flags = fcntl_getfl(&descriptor)?;
        if flags.intersects(OFlags::WRONLY | OFlags::RDWR) {
            return Err(io::Error::other("it can be written"));
        }
        let len = u64::try_from(fstat(&descriptor)?.st_size).unwrap_or(0);
        Ok(map(&File::from(descriptor), len)?)
    }

    /// What another process can be handed, which can read by it and not write. Nothing of a file that was not a
    /// [`TempBody`], and where the system has no `/proc`.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.to_read.as_ref().map(File::as_fd)
    }
}

/// The bytes of a finished [`TempBody`].
#[derive(Debug)]
pub struct Mapped {
    start: NonNull<u8>,
    len: usize,
    to_read: Option<File>,
}

// SAFETY: the mapping is read-only and never moves; sharing it is sharing a `&[u8]`.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `start` and `len` are of one live PROT_READ mapping (or dangling with length 0),
        // unmapped only in `drop`. A file of `TempBody` was made by us with mode 0600, has no name, and the
        // only descriptor that could write was closed by `map`; one of `handed` is such a file of another
        // process; one of `finished` is our user's, nobody else can write it, and by its contract we never do
        // again. So nobody but root, our own user or a debugger of this
        // process (who can do worse) can write or truncate it while this slice lives: no changing bytes.
        // A disk that cannot read a page back raises SIGBUS, which ends the process: the mail was
        // not answered yet and stays the sender's.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: this is exactly the mapping that `map` made, and no slice of it outlives us.
            // Failure is impossible for a valid mapping and could not be answered here.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}

/// Why a temporary file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TempBodyError {
    /// No room: disk full or over quota.
    #[error("insufficient storage for a temporary file")]
    Full,
    /// Anything else.
    #[error("temporary file: {0}")]
    Storage(#[source] io::Error),
}

impl From<io::Error> for TempBodyError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Storage(error),
        }
    }
}

impl From<Errno> for TempBodyError {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// Bytes that an unprivileged process may still write below `folder`.
///
/// # Errors
///
/// When the folder cannot be asked, and when nothing can be written there: a system makes a disk that fails read-only.
pub fn free_space(folder: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(folder)?;
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(Errno::ROFS.into());
    }
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn named_then_unlinked(folder: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    let mut last = Errno::EXIST;
    for _ in 0..ATTEMPTS {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".kenin-{}-{number}", std::process::id()));
        match openat(CWD, &path, flags, mode) {
            Ok(fd) => {
                unlinkat(CWD, &path, rustix::fs::AtFlags::empty())?;
                return Ok(fd);
            }
            // A leftover of a crash between the two calls, or somebody guessing: another name.
            Err(Errno::EXIST) => last = Errno::EXIST,
            Err(other) => return Err(other),
        }
    }
    Err(last)
}

static NEXT: AtomicU64 = AtomicU64::new(0);
const ATTEMPTS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_mapped() {
        let mut body = TempBody::create_in(&std::env::temp_dir()).unwrap();
        assert!(body.is_empty());
        let chunk: Vec<u8> = (0..=255).cycle().take(100_003).collect();
        for part in chunk.chunks(977) {
            body.append(part).unwrap();
        }
        assert_eq!(body.len(), 100_003);
        let mapped = body.map().unwrap();
        assert_eq!(&*mapped, &chunk[..]);
        let read = std::thread::spawn(move || mapped.len()).join().unwrap();
        assert_eq!(read, 100_003);
    }

    #[test]
    fn another_can_be_handed_what_it_reads_and_does_not_write() {
        let mut body = TempBody::create_in(&std::env::temp_dir()).unwrap();
        body.append(b"large mail").unwrap();
        let writing = OwnedFd::from(body.file.try_clone().unwrap());
        assert!(Mapped::handed(writing).is_err());
        let mapped = body.map().unwrap();
        let descriptor = mapped.descriptor().unwrap().try_clone_to_owned().unwrap();
        let mut writer = File::from(descriptor.try_clone().unwrap());
        assert!(writer.write_all(b"x").is_err());
        assert!(writer.set_len(0).is_err());
        drop(mapped);
        assert_eq!(&*Mapped::handed(descriptor).unwrap(), b"large mail");
    }

    #[test]
    fn an_empty_body_maps_to_nothing() {
        let mapped = TempBody::create_in(&std::env::temp_dir())
            .unwrap()
            .map()
            .unwrap();
        assert!(mapped.is_empty());
    }

    #[test]
    fn the_file_is_private_and_has_no_name() {
        use std::os::unix::fs::MetadataExt;
        for named in [false, true] {
            let file = if named {
                let mode = Mode::RUSR | Mode::WUSR;
                File::from(named_then_unlinked(&std::env::temp_dir(), mode).unwrap())
            } else {
                TempBody::create_in(&std::env::temp_dir()).unwrap().file
            };
            let facts = file.metadata().unwrap();
            assert_eq!(facts.mode() & 0o777, 0o600);
            assert_eq!(facts.nlink(), 0);
        }
    }

    #[test]
    fn a_full_disk_is_told_from_a_broken_one() {
        assert!(matches!(
            TempBodyError::from(Errno::NOSPC),
            TempBodyError::Full
        ));
        assert!(matches!(
            TempBodyError::from(Errno::DQUOT),
            TempBodyError::Full
        ));
        assert!(matches!(
            TempBodyError::from(Errno::IO),
            TempBodyError::Storage(_)
        ));
        let missing = TempBody::create_in(Path::new("/nonexistent-folder"));
        assert!(matches!(missing, Err(TempBodyError::Storage(_))));
    }

    #[test]
    fn a_real_write_error_is_seen() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut body = TempBody { file: full, len: 0 };
        assert!(matches!(body.append(b"x"), Err(TempBodyError::Full)));
    }

    #[test]
    fn free_space_is_known() {
        assert!(free_space(&std::env::temp_dir()).unwrap() > 0);
        assert!(free_space(Path::new("/nonexistent-folder")).is_err());
    }
}
