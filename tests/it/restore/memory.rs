use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use anyhow::anyhow;
use litestream::store::{Object, ObjectStore, Result, StoreError};

/// A store in memory that can be damaged. Clones share their objects.
#[derive(Clone, Default)]
pub(super) struct Memory(Arc<Mutex<State>>);

#[derive(Clone, Default)]
struct State {
    objects: BTreeMap<String, (Vec<u8>, SystemTime)>,
    failures: u32,
    rejection: Option<String>,
    stalled: bool,
}

impl Memory {
    pub(super) fn insert(&self, key: String, content: Vec<u8>, created: SystemTime) {
        self.0.lock().unwrap().objects.insert(key, (content, created));
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().objects.keys().cloned().collect()
    }

    pub(super) fn created(&self, key: &str) -> SystemTime {
        self.0.lock().unwrap().objects[key].1
    }

    pub(super) fn size(&self, key: &str) -> usize {
        self.0.lock().unwrap().objects[key].0.len()
    }

    pub(super) fn remove(&self, key: &str) {
        self.0.lock().unwrap().objects.remove(key).unwrap();
    }

    pub(super) fn deep_clone(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    pub(super) fn flip(&self, key: &str, byte: usize) {
        self.0.lock().unwrap().objects.get_mut(key).unwrap().0[byte] ^= 0x10;
    }

    pub(super) fn truncate(&self, key: &str, length: usize) {
        self.0.lock().unwrap().objects.get_mut(key).unwrap().0.truncate(length);
    }

    pub(super) fn swap(&self, one: &str, other: &str) {
        let objects = &mut self.0.lock().unwrap().objects;
        let first = objects[one].clone();
        let second = objects.insert(other.to_owned(), first).unwrap();
        objects.insert(one.to_owned(), second);
    }

    /// Fails the next `requests` requests, as a busy server does.
    pub(super) fn fail(&self, requests: u32) {
        self.0.lock().unwrap().failures = requests;
    }

    /// Refuses everything from now on.
    pub(super) fn reject(&self, cause: &str) {
        self.0.lock().unwrap().rejection = Some(cause.to_owned());
    }

    /// From now on, never answers requests for content.
    pub(super) fn stall(&self) {
        self.0.lock().unwrap().stalled = true;
    }

    fn check(&self) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        if let Some(cause) = &state.rejection {
            return Err(StoreError::Rejected(anyhow!("{cause}")));
        }
        if state.failures > 0 {
            state.failures -= 1;
            return Err(StoreError::Unavailable(anyhow!("busy")));
        }
        Ok(())
    }
}

impl ObjectStore for Memory {
    async fn put(&self, _: &str, _: Box<dyn Read + Send>, _: u64) -> Result<()> {
        Err(StoreError::Rejected(anyhow!("read only")))
    }

    async fn create(&self, _: &str, _: Box<dyn Read + Send>, _: u64) -> Result<()> {
        Err(StoreError::Rejected(anyhow!("read only")))
    }

    async fn get(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>> {
        self.check()?;
        if self.0.lock().unwrap().stalled {
            std::future::pending::<()>().await;
        }
        let state = self.0.lock().unwrap();
        let Some((content, _)) = state.objects.get(key) else {
            return Err(StoreError::NotFound { key: key.to_owned() });
        };
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok(content[range].to_vec())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>> {
        self.check()?;
        let state = self.0.lock().unwrap();
        let objects = state.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let object = |(key, (content, created)): (&String, &(Vec<u8>, SystemTime))| Object {
            key: key.clone(),
            size: content.len() as u64,
            created: *created,
        };
        Ok(objects.map(object).collect())
    }

    async fn list_directories(&self, prefix: &str) -> Result<Vec<String>> {
        self.check()?;
        let keys = self.keys();
        let names = keys.iter().filter_map(|key| key.strip_prefix(prefix)?.split_once('/'));
        let mut names: Vec<String> = names.map(|(name, _)| name.to_owned()).collect();
        names.dedup();
        Ok(names)
    }

    async fn delete(&self, _: &[String]) -> Result<()> {
        Err(StoreError::Rejected(anyhow!("read only")))
    }
}
