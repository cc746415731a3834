//! A directory that can be read and takes every write without keeping it, so that a journal is read as an opening would
//! read it and stays as it is.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use polybus_queue::journal::{Disk, DiskFile};

pub(super) struct Shadow<'a>(pub(super) &'a Path);

/// A file that is there, or one of this size that was made and forgotten.
pub(super) enum Glance {
    There(File),
    Made(u64),
}

impl Disk for Shadow<'_> {
    type File = Glance;

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(self.0)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(io::Result::transpose).collect()
    }

    fn open(&self, name: &str) -> io::Result<Glance> {
        File::open(self.0.join(name)).map(Glance::There)
    }

    fn create(&self, _name: &str, size: u64) -> io::Result<Glance> {
        Ok(Glance::Made(size))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for Glance {
    fn size(&self) -> io::Result<u64> {
        match self {
            Self::There(file) => DiskFile::size(file),
            Self::Made(size) => Ok(*size),
        }
    }

    fn read_from(&self, offset: u64) -> io::Result<Vec<u8>> {
        match self {
            Self::There(file) => file.read_from(offset),
            Self::Made(size) => {
                let left = usize::try_from(size.saturating_sub(offset)).map_err(io::Error::other)?;
                Ok(vec![0; left])
            }
        }
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
