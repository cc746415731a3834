//! The files of a journal, behind a seam so that tests can take power away, fill the disk and flip bits.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file that is locked while a journal is open; it holds the process id.
const LOCK: &str = "lock";

/// A directory of its own for one journal.
pub trait Disk {
    /// An open file.
    type File: DiskFile;

    /// The names of the files.
    ///
    /// # Errors
    /// What the system says; so for all that follow.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file.
    ///
    /// # Errors
    /// As [`Disk::list`].
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Makes a file of this size, or empties one, with the room for it taken from the disk.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`] where there is no room; nothing is left then.
    fn create(&self, name: &str, size: u64) -> io::Result<Self::File>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// As [`Disk::list`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// As [`Disk::list`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when the names of the files survive a loss of power.
    ///
    /// # Errors
    /// As [`Disk::list`].
    fn sync(&self) -> io::Result<()>;
}

/// An open file of a [`Disk`].
pub trait DiskFile {
    /// Its size in bytes.
    ///
    /// # Errors
    /// What the system says; so for all that follow.
    fn size(&self) -> io::Result<u64>;

    /// Everything from `offset` on.
    ///
    /// # Errors
    /// As [`DiskFile::size`].
    fn read_from(&self, offset: u64) -> io::Result<Vec<u8>>;

    /// Writes at `offset`. After an error any part of it may be there: the same write is then tried again.
    ///
    /// # Errors
    /// As [`DiskFile::size`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when everything written survives a loss of power.
    ///
    /// # Errors
    /// As [`DiskFile::size`]. What was written and not synced may be lost then, also if a later call succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// Whether an error says that there is no room: something that passes.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A directory of the file system, locked for this process as long as this lives.
pub struct Directory {
    path: PathBuf,
    handle: File,
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Somebody has it open.
    #[error("{} is in use{}", path.display(), by(*pid))]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process that has it, if known. It may be this one.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

impl Directory {
    /// Opens a directory, made if it is not there, for this process alone. The lock is advisory and ends with the
    /// process, however it ends.
    ///
    /// # Errors
    /// [`DirectoryError::InUse`] at once if another process, or another journal in this one, has it open.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DirectoryError> {
        let path = path.into();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError::Io { path, source }
        };
        fs::create_dir_all(&path).map_err(at(&path))?;
        let handle = File::open(&path).map_err(at(&path))?;
        let lock_path = path.join(LOCK);
        let mut options = OpenOptions::new();
        let mut lock = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(DirectoryError::InUse { path, pid });
            }
            Err(TryLockError::Error(source)) => return Err(DirectoryError::Io { path: lock_path, source }),
        }
        note_pid(&mut lock)
            .or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })
            .map_err(at(&lock_path))?;
        Ok(Self { path, handle, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn note_pid(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Directory").field(&self.path).finish()
    }
}

impl Disk for Directory {
    type File = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.path)?;
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(self.path.join(name))
    }

    fn create(&self, name: &str, size: u64) -> io::Result<File> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        match reserve(&file, size) {
            Ok(()) => Ok(file),
            Err(error) => {
                fs::remove_file(&path)?;
                Err(error)
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

/// Takes the room from the disk now, so that a later write cannot fail for want of it. A file system that cannot
/// do that gives a file of that size all the same; there a write may find the disk full, which is coped with too.
#[cfg(target_os = "linux")]
fn reserve(file: &File, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size),
        other => other.map_err(io::Error::from),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(file: &File, size: u64) -> io::Result<()> {
    file.set_len(size)
}

impl DiskFile for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_from(&self, offset: u64) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.size()?.saturating_sub(offset)).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
