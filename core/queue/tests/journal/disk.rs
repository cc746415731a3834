//! A disk in memory that loses power, fills up, fails and rots.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use polybus_queue::journal::{Disk, DiskFile};

/// Chance with a seed, so that a seed gives a run.
#[derive(Clone, Debug)]
pub(crate) struct Random(fastrand::Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0.u64(..)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.u64(..end)
    }
}

/// What a power loss leaves whole or loses whole.
const SECTOR: usize = 512;

#[derive(Debug, Default)]
struct Content {
    /// As programs see it.
    seen: Vec<u8>,
    /// As it lies on the disk.
    synced: Vec<u8>,
    /// Sectors written since.
    dirty: Vec<usize>,
}

type Shared = Arc<Mutex<Content>>;
type Names = BTreeMap<String, Shared>;

#[derive(Debug, Default)]
struct State {
    seen: Names,
    /// Directories as they were after each change since the last sync, the synced one first.
    synced: Vec<Names>,
    /// Bytes that new files may still take; `None`: no end.
    room: Option<u64>,
    broken: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Debug)]
pub(crate) struct MemoryFile {
    content: Shared,
    disk: Memory,
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl Memory {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn changed(&self, change: impl FnOnce(&mut Names)) {
        let mut state = self.state();
        if state.synced.is_empty() {
            state.synced.push(Names::new());
        }
        change(&mut state.seen);
        let now = state.seen.clone();
        state.synced.push(now);
    }

    /// How many bytes new files may still take.
    pub(crate) fn set_room(&self, room: Option<u64>) {
        self.state().room = room;
    }

    /// Every sync fails from now on.
    pub(crate) fn set_broken(&self) {
        self.state().broken = true;
    }

    /// The disk after a loss of power: of what was not synced, any part of it is there.
    pub(crate) fn after_power_loss(&self, random: &mut Random) -> Self {
        let state = self.state();
        let choice =
            if state.synced.is_empty() { 0 } else { random.below(state.synced.len() as u64) as usize };
        let names = state.synced.get(choice).cloned().unwrap_or_default();
        let keep = |content: &Shared, random: &mut Random| {
            let content = content.lock().unwrap();
            let mut left = content.synced.clone();
            left.resize(content.seen.len(), 0);
            for sector in &content.dirty {
                let range = sector * SECTOR..((sector + 1) * SECTOR).min(content.seen.len());
                if random.below(2) == 0 && range.start < range.end {
                    left[range.clone()].copy_from_slice(&content.seen[range]);
                }
            }
            Arc::new(Mutex::new(Content { seen: left.clone(), synced: left, dirty: Vec::new() }))
        };
        let seen: Names = names.iter().map(|(name, content)| (name.clone(), keep(content, random))).collect();
        Self(Arc::new(Mutex::new(State { synced: vec![seen.clone()], seen, ..State::default() })))
    }

    /// The disk after the end of the process: everything that was written is there.
    pub(crate) fn after_kill(&self) -> Self {
        let state = self.state();
        let copy = |content: &Shared| {
            let seen = content.lock().unwrap().seen.clone();
            Arc::new(Mutex::new(Content { synced: seen.clone(), seen, dirty: Vec::new() }))
        };
        let seen: Names = state.seen.iter().map(|(name, content)| (name.clone(), copy(content))).collect();
        Self(Arc::new(Mutex::new(State { synced: vec![seen.clone()], seen, ..State::default() })))
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.state().seen.keys().cloned().collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.state().seen.values().map(|content| content.lock().unwrap().seen.len() as u64).sum()
    }

    /// Changes the bytes of a file behind everybody's back.
    pub(crate) fn rot(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let state = self.state();
        let mut content = state.seen[name].lock().unwrap();
        change(&mut content.seen);
        let Content { seen, synced, .. } = &mut *content;
        synced.clone_from(seen);
    }
}

impl Disk for Memory {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let content = self.state().seen.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(MemoryFile { content, disk: self.clone() })
    }

    fn create(&self, name: &str, size: u64) -> io::Result<MemoryFile> {
        if let Some(room) = &mut self.state().room {
            *room = room.checked_sub(size).ok_or_else(full)?;
        }
        let content = Shared::default();
        content.lock().unwrap().seen = vec![0; usize::try_from(size).unwrap()];
        self.changed(|names| drop(names.insert(name.to_owned(), content.clone())));
        Ok(MemoryFile { content, disk: self.clone() })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let content = self.state().seen.get(from).cloned().ok_or(io::ErrorKind::NotFound)?;
        self.changed(|names| {
            names.remove(from);
            names.insert(to.to_owned(), content);
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let freed =
            self.state().seen.get(name).map_or(0, |content| content.lock().unwrap().seen.len() as u64);
        if let Some(room) = &mut self.state().room {
            *room += freed;
        }
        self.changed(|names| drop(names.remove(name)));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.synced = vec![state.seen.clone()];
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.content.lock().unwrap().seen.len() as u64)
    }

    fn read_from(&self, offset: u64) -> io::Result<Vec<u8>> {
        let content = self.content.lock().unwrap();
        Ok(content.seen.get(usize::try_from(offset).unwrap()..).unwrap_or_default().to_vec())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.content.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        let end = at + bytes.len();
        if content.seen.len() < end {
            content.seen.resize(end, 0);
        }
        content.seen[at..end].copy_from_slice(bytes);
        content.dirty.extend(at / SECTOR..end.div_ceil(SECTOR));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        if self.disk.state().broken {
            return Err(io::Error::other("the disk is broken"));
        }
        let mut content = self.content.lock().unwrap();
        let Content { seen, synced, .. } = &mut *content;
        synced.clone_from(seen);
        content.dirty.clear();
        Ok(())
    }
}
