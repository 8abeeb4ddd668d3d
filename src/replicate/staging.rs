mod naming;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::durable::{
    Durability, is_full, located, overwrite_file, read_text, remove, replace_file, sync_parent,
};
use super::sent::Sent;
use crate::failpoint::Failpoint;
use crate::format::{Generation, Key, ProofRecord, WalPos};
use naming::directory_name;

/// Segments that wait until a replica has them: finished objects under their final names.
///
/// ```text
/// staging/<replica>/<generation>/<index>_<offset>.wal.lz4
/// staging/<replica>/sent     what the replica acknowledged last
/// staging/<replica>/fork     the fork of the replica that is written to, if there is one
/// staging/<replica>/place    where the replica is, which identifies it under another name
/// staging/<replica>/defect   why it could not be restored when it was validated last
/// staging/<replica>/verified what validation last found out about it, as in the replica itself
/// ```
///
/// A segment for several replicas is one file with several names, so each replica removes its own.
/// What is staged is the truth about what there is to do: it outlives the process.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    root: PathBuf,
    notes: Arc<Mutex<Notes>>,
}

/// What was last read or noted here, in case the files are removed under us. Clones share it.
#[derive(Clone, Copy, Debug, Default)]
struct Notes {
    sent: Option<Sent>,
    fork: Option<Generation>,
}

/// A segment that waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staged {
    pub(super) generation: Generation,
    pub(super) pos: WalPos,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) since: SystemTime,
}

impl Staged {
    pub(super) fn key(&self) -> Key {
        Key::Segment { generation: self.generation, pos: self.pos }
    }

    /// Removes the segment from the staging directory.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }
}

impl Staging {
    /// The staging directory of the replica named `replica`, in the state directory `state`.
    pub(super) fn new(state: &Path, replica: &str) -> Self {
        let root = state.join("staging").join(directory_name(replica));
        Self { root, notes: Arc::default() }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the notes again, which were removed under us.
    pub(super) fn note_again(&self) -> io::Result<()> {
        let Notes { sent, fork } = *self.notes();
        if let Some(fork) = fork {
            self.write_fork(fork)?;
        }
        sent.map_or(Ok(()), |sent| self.note_sent(sent, Durability::Power))
    }

    fn directory(&self, generation: Generation) -> PathBuf {
        self.root.join(generation.to_string())
    }

    fn path(&self, generation: Generation, pos: WalPos) -> PathBuf {
        self.directory(generation).join(format!("{pos}.wal.lz4"))
    }

    /// Gives the finished segment in `file` its name here as well.
    pub(super) fn add(&self, generation: Generation, pos: WalPos, file: &Path) -> io::Result<()> {
        let path = self.path(generation, pos);
        fs::create_dir_all(self.directory(generation))?;
        remove(&path)?;
        if fs::hard_link(file, &path).is_ok() {
            return Ok(());
        }
        // Not all file systems support hard links.
        let partial = path.with_extension("partial");
        fs::copy(file, &partial)?;
        fs::rename(partial, path)
    }

    /// What the replica acknowledged last, as far as that is known.
    pub(super) fn sent(&self) -> io::Result<Option<Sent>> {
        let Some(text) = read_text(&self.root.join("sent"))? else {
            return Ok(self.notes().sent);
        };
        let sent = Sent::parse(&text);
        self.notes().sent = sent;
        Ok(sent)
    }

    /// Takes note of what the replica acknowledged.
    ///
    /// On a full disk an earlier note is overwritten in place: what the replica holds beyond the
    /// last note is taken for another history.
    pub(super) fn note_sent(&self, sent: Sent, durability: Durability) -> io::Result<()> {
        self.notes().sent = Some(sent);
        fs::create_dir_all(&self.root)?;
        let (path, text) = (self.root.join("sent"), sent.to_text());
        match replace_file(&path, text.as_bytes(), durability) {
            Err(error) if is_full(&error) => {
                overwrite_file(&path, text.as_bytes(), durability).map_err(|_| error)?;
            }
            noted => noted?,
        }
        if durability == Durability::Power { self.sync_names() } else { Ok(()) }
    }

    /// What validation found out about the replica last.
    pub(super) fn record(&self) -> io::Result<Option<ProofRecord>> {
        match fs::read(self.root.join(ProofRecord::KEY)) {
            // It may have said that the database is damaged.
            Ok(bytes) => ProofRecord::parse(&bytes).map(Some).ok_or_else(|| {
                let path = self.root.join(ProofRecord::KEY);
                let text = format!("{} is altered: the next validation mends it", path.display());
                io::Error::new(io::ErrorKind::InvalidData, text)
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes note of what validation found out, for the other replicas of the database.
    pub(super) fn note_record(&self, record: &ProofRecord) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let path = self.root.join(ProofRecord::KEY);
        replace_file(&path, record.to_text().as_bytes(), Durability::Power)
    }

    /// Why the replica could not be restored when it was validated last, if that is so. A note that
    /// cannot be read may say so.
    pub(super) fn defect(&self) -> Option<String> {
        let unreadable = |error| Some(format!("the note of that cannot be read: {error}"));
        read_text(&self.root.join("defect")).unwrap_or_else(unreadable)
    }

    /// Takes note of why the replica cannot be restored, or that it can.
    pub(super) fn note_defect(&self, defect: Option<&str>) -> io::Result<()> {
        let path = self.root.join("defect");
        let Some(defect) = defect else { return remove(&path) };
        fs::create_dir_all(&self.root)?;
        replace_file(&path, defect.as_bytes(), Durability::Process)
    }

    /// The fork that the database is replicated to, if the replica holds another history.
    pub(super) fn fork(&self) -> io::Result<Option<Generation>> {
        let path = self.root.join("fork");
        let Some(text) = read_text(&path)? else { return Ok(self.notes().fork) };
        let damaged = |error| located(&path, &io::Error::new(io::ErrorKind::InvalidData, error));
        let fork = text.trim_end().parse().map_err(damaged)?;
        self.notes().fork = Some(fork);
        Ok(Some(fork))
    }

    /// Takes note of a fork, durably: nothing else distinguishes it from the replica itself.
    pub(super) fn note_fork(&self, fork: Generation) -> io::Result<()> {
        self.write_fork(fork)?;
        self.notes().fork = Some(fork);
        self.forget_sent()
    }

    fn write_fork(&self, fork: Generation) -> io::Result<()> {
        fs::create_dir_all(&self.root)?;
        replace_file(&self.root.join("fork"), format!("{fork}\n").as_bytes(), Durability::Power)?;
        self.sync_names()
    }

    /// Goes back from a fork to the replica itself.
    pub(super) fn forget_fork(&self) -> io::Result<()> {
        if self.fork()?.is_some() {
            self.forget_sent()?;
        }
        self.notes().fork = None;
        remove(&self.root.join("fork"))
    }

    /// Makes the name of the directory durable: it may be new, and so may its parent.
    fn sync_names(&self) -> io::Result<()> {
        self.root.ancestors().take(2).try_for_each(sync_parent)
    }

    /// Forgets what was acknowledged: it says nothing about another place.
    fn forget_sent(&self) -> io::Result<()> {
        self.notes().sent = None;
        remove(&self.root.join("sent"))
    }

    /// Makes the segments of a generation durable, and the note of what was sent.
    pub(super) fn sync(&self, generation: Generation) -> io::Result<()> {
        Failpoint::StateSyncing.pass()?;
        match File::open(self.root.join("sent")) {
            Ok(sent) => sent.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
        for staged in self.segments(generation)? {
            match File::open(&staged.path) {
                Ok(file) => file.sync_all()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        let directory = self.directory(generation);
        if directory.exists() {
            File::open(&directory)?.sync_all()?;
            sync_parent(&directory)?;
            self.sync_names()?;
        }
        Ok(())
    }

    /// The generations that have staged segments, or had some.
    pub(super) fn generations(&self) -> io::Result<Vec<Generation>> {
        let names = read_directory(&self.root)?;
        Ok(names.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// The segments of a generation, in order of position.
    pub(super) fn segments(&self, generation: Generation) -> io::Result<Vec<Staged>> {
        let mut segments = Vec::new();
        for entry in read_directory(&self.directory(generation))? {
            let name = entry.file_name();
            let pos = name.to_str().and_then(|name| name.strip_suffix(".wal.lz4")?.parse().ok());
            let Some(pos) = pos else { continue };
            match entry.metadata() {
                Ok(metadata) => segments.push(Staged {
                    generation,
                    pos,
                    path: entry.path(),
                    bytes: metadata.len(),
                    since: metadata.modified()?,
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        segments.sort_by_key(|staged| staged.pos);
        Ok(segments)
    }

    /// The segments of all generations.
    pub(super) fn all(&self) -> io::Result<Vec<Staged>> {
        let mut all = Vec::new();
        for generation in self.generations()? {
            all.extend(self.segments(generation)?);
        }
        Ok(all)
    }

    /// The bytes that wait to be sent.
    pub(super) fn bytes(&self) -> io::Result<u64> {
        Ok(self.all()?.iter().map(|staged| staged.bytes).sum())
    }

    /// The number of segments that wait to be sent.
    pub(super) fn count(&self) -> io::Result<usize> {
        let mut count = 0;
        for generation in self.generations()? {
            let entries = read_directory(&self.directory(generation))?;
            let is_segment = |path: &Path| path.extension().is_some_and(|found| found == "lz4");
            count += entries.iter().filter(|entry| is_segment(&entry.path())).count();
        }
        Ok(count)
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        Ok(self.count()? == 0)
    }

    /// Forgets a whole generation.
    pub(super) fn discard(&self, generation: Generation) -> io::Result<()> {
        remove(&self.directory(generation))
    }

    /// Forgets all generations but one.
    pub(super) fn discard_all_but(&self, kept: Option<Generation>) -> io::Result<()> {
        let generations = self.generations()?;
        let others = generations.into_iter().filter(|generation| Some(*generation) != kept);
        others.into_iter().try_for_each(|generation| self.discard(generation))
    }

    /// Forgets the segments of a generation from `pos` on: they were cut, but not yet counted.
    pub(super) fn discard_from(&self, generation: Generation, pos: WalPos) -> io::Result<()> {
        let segments = self.segments(generation)?;
        segments.iter().filter(|staged| staged.pos >= pos).try_for_each(Staged::remove)
    }
}

/// The entries of a directory; none if it does not exist.
fn read_directory(path: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(path) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Link;

    #[test]
    fn keeps_a_segment_until_each_replica_has_it() {
        let state = tempfile::tempdir().unwrap();
        let generation = Generation::from_bits(7);
        let file = state.path().join("segment.partial");
        fs::write(&file, b"segment").unwrap();
        let [near, far] = ["near", "a/b"].map(|name| Staging::new(state.path(), name));
        for pos in ["00000001_00000000", "00000000_00001038", "00000000_123456789"] {
            near.add(generation, pos.parse().unwrap(), &file).unwrap();
            far.add(generation, pos.parse().unwrap(), &file).unwrap();
        }
        let staged = near.segments(generation).unwrap().into_iter();
        let order: Vec<String> = staged.map(|staged| staged.pos.to_string()).collect();
        assert_eq!(order, ["00000000_00001038", "00000000_123456789", "00000001_00000000"]);

        near.segments(generation).unwrap()[0].remove().unwrap();
        far.discard_from(generation, "00000001_00000000".parse().unwrap()).unwrap();
        assert_eq!(near.segments(generation).unwrap().len(), 2);
        assert_eq!(far.segments(generation).unwrap().len(), 2);
        assert_eq!(far.generations().unwrap(), [generation]);
        far.sync(generation).unwrap();
        far.discard(generation).unwrap();
        assert!(far.generations().unwrap().is_empty());
    }

    /// A record that is altered may have said that the database is damaged, and that nothing may
    /// expire.
    #[test]
    fn what_validation_found_is_known_or_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let staging = Staging::new(directory.path(), "s3");
        assert_eq!(staging.record().unwrap(), None);
        let record = ProofRecord { damaged: Some(SystemTime::UNIX_EPOCH), last: None };
        staging.note_record(&record).unwrap();
        assert_eq!(staging.record().unwrap(), Some(record));
        let path = directory.path().join("staging/s3.replica/verified");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("damaged", "damageb")).unwrap();
        let error = staging.record().unwrap_err().to_string();
        assert!(error.contains("verified is altered"), "{error}");
    }

    #[test]
    fn a_defect_is_known_until_it_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let staging = Staging::new(directory.path(), "s3");
        staging.note_defect(Some("it is missing")).unwrap();
        assert_eq!(staging.defect().unwrap(), "it is missing");
        staging.note_defect(None).unwrap();
        assert_eq!(staging.defect(), None);
        fs::create_dir(staging.root.join("defect")).unwrap();
        assert!(staging.defect().unwrap().contains("cannot be read"));
    }

    /// A fork that was still empty counted as one that had lost what the replica had acknowledged.
    #[test]
    fn what_one_place_has_acknowledged_is_not_asked_of_another() {
        let state = tempfile::tempdir().unwrap();
        let staging = Staging::new(state.path(), "file");
        let generation = Generation::from_bits(7);
        let sent = Sent { generation, link: Link(1), end: "00000000_00001038".parse().unwrap() };
        let note = || staging.note_sent(sent, Durability::Process).unwrap();
        note();
        staging.forget_fork().unwrap();
        assert_eq!(staging.sent().unwrap(), Some(sent), "there was no fork");
        staging.note_fork(Generation::from_bits(8)).unwrap();
        assert_eq!(staging.sent().unwrap(), None);
        note();
        staging.forget_fork().unwrap();
        assert_eq!(staging.sent().unwrap(), None);
    }
}
