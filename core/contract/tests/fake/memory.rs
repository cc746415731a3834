//! Parts in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use polybus_contract::{
    Error, Kind, Manifest, Name, Operation, Part, PartSink, PartSource, PartStore, PartsId, Result,
};

#[derive(Debug, Default)]
pub(crate) struct Memory {
    bodies: Arc<Mutex<BTreeMap<PartsId, Vec<Part>>>>,
}

impl Memory {
    pub(crate) fn bodies(&self) -> usize {
        self.bodies.lock().unwrap().len()
    }

    /// Changes the parts of the only body.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<Part>)) {
        change(self.bodies.lock().unwrap().values_mut().next().unwrap());
    }
}

#[async_trait]
impl PartStore for Memory {
    fn part_size(&self) -> u32 {
        4
    }

    async fn create(&self, id: PartsId, _live: Duration) -> Result<Box<dyn PartSink>> {
        self.bodies.lock().unwrap().insert(id, Vec::new());
        Ok(Box::new(Writing { bodies: self.bodies.clone(), id }))
    }

    async fn open(&self, manifest: &Manifest, from: u32) -> Result<Box<dyn PartSource>> {
        let parts = self.bodies.lock().unwrap().get(&manifest.id).cloned();
        let parts = parts.ok_or_else(|| Error::new(Kind::NotFound, Operation::Consume))?;
        Ok(Box::new(Reading(parts.into_iter().skip(from as usize).collect())))
    }

    async fn remove(&self, id: PartsId) -> Result<()> {
        self.bodies.lock().unwrap().remove(&id);
        Ok(())
    }

    async fn reaches(&self, queue: &Name) -> Result<bool> {
        Ok(queue.as_str() != "old")
    }
}

#[derive(Debug)]
struct Writing {
    bodies: Arc<Mutex<BTreeMap<PartsId, Vec<Part>>>>,
    id: PartsId,
}

#[async_trait]
impl PartSink for Writing {
    async fn put(&mut self, part: Part) -> Result<()> {
        self.bodies.lock().unwrap().entry(self.id).or_default().push(part);
        Ok(())
    }

    async fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Reading(std::collections::VecDeque<Part>);

#[async_trait]
impl PartSource for Reading {
    async fn next(&mut self) -> Result<Part> {
        self.0.pop_front().ok_or_else(|| Error::new(Kind::NotFound, Operation::Consume))
    }
}
