use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Instant, SystemTime};

use hyper::body::Bytes;
use twox_hash::XxHash3_64;

use super::habits::Habits;

/// An object, with what a listing shows of it.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    /// Computed once, since each listing shows the tags of all objects.
    pub(super) tag: String,
    /// By the clock of the store.
    pub(super) modified: SystemTime,
    stored: Instant,
    /// Whether it was stored while such objects were not listed.
    unlisted: bool,
}

impl Object {
    fn is_listed(&self, key: &str, habits: &Habits) -> bool {
        let part = hash(&key) % 1000;
        let delay = habits.listing_delay.mul_f64(f64::from(u32::try_from(part).unwrap()) / 1000.0);
        let unlisted = habits.unlisted.as_ref().is_some_and(|part| key.contains(part.as_str()));
        let unlisted = self.unlisted && unlisted;
        !unlisted && self.stored.elapsed() >= delay
    }
}

/// A hash that is the same in each run, so that whatever depends on it can be reproduced.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// An object that is being stored in parts.
#[derive(Debug)]
struct Upload {
    key: String,
    parts: BTreeMap<i32, Bytes>,
}

/// Why something was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is an object already.
    Exists,
    NoSuchUpload,
    NoSuchPart,
}

/// What is in the store.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) habits: Habits,
    objects: BTreeMap<String, Object>,
    uploads: HashMap<String, Upload>,
    uploads_begun: u32,
}

impl Contents {
    /// Stores an object. With `new`, there must be none of that name.
    pub(super) fn put(&mut self, key: &str, bytes: Bytes, new: bool) -> Result<Object, Refused> {
        if new && !self.habits.ignores_conditions && self.objects.contains_key(key) {
            return Err(Refused::Exists);
        }
        let object = Object {
            tag: format!("{:016x}", XxHash3_64::oneshot(&bytes)),
            bytes,
            modified: self.habits.now(),
            stored: Instant::now(),
            unlisted: self.habits.unlisted.is_some(),
        };
        self.objects.insert(key.to_owned(), object.clone());
        Ok(object)
    }

    pub(super) fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.objects.remove(key);
    }

    pub(super) fn set_times(&mut self, time: impl Fn(SystemTime) -> SystemTime) {
        self.objects.values_mut().for_each(|object| object.modified = time(object.modified));
    }

    /// Everything that there is, listed or not.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.objects.iter().map(|(key, object)| (key.as_str(), object))
    }

    /// What listings may show.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.all().filter(|(key, object)| object.is_listed(key, &self.habits))
    }

    pub(super) fn begin_upload(&mut self, key: &str) -> String {
        self.uploads_begun += 1;
        let id = format!("upload-{}", self.uploads_begun);
        self.uploads.insert(id.clone(), Upload { key: key.to_owned(), parts: BTreeMap::new() });
        id
    }

    pub(super) fn put_part(&mut self, id: &str, number: i32, bytes: Bytes) -> Result<(), Refused> {
        let upload = self.uploads.get_mut(id).ok_or(Refused::NoSuchUpload)?;
        upload.parts.insert(number, bytes);
        Ok(())
    }

    /// Makes an object of these parts of an upload.
    pub(super) fn complete_upload(
        &mut self,
        id: &str,
        numbers: &[i32],
        new: bool,
    ) -> Result<Object, Refused> {
        let upload = self.uploads.get(id).ok_or(Refused::NoSuchUpload)?;
        let mut bytes = Vec::new();
        for number in numbers {
            bytes.extend_from_slice(upload.parts.get(number).ok_or(Refused::NoSuchPart)?);
        }
        let object = self.put(&upload.key.clone(), bytes.into(), new)?;
        self.uploads.remove(id);
        Ok(object)
    }

    pub(super) fn abort_upload(&mut self, id: &str) -> Result<(), Refused> {
        self.uploads.remove(id).map(|_| ()).ok_or(Refused::NoSuchUpload)
    }

    /// Uploads that were neither completed nor aborted.
    pub(super) fn uploads(&self) -> usize {
        self.uploads.len()
    }
}
