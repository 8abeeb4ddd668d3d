use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::options::{DatabaseOptions, ReplicaOptions};
use crate::store::Location;

/// Where databases write: their files, our directories beside them, and their replicas. Two writers
/// in one place destroy what each of them keeps there.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The replicas of each database.
    databases: HashMap<PathBuf, Vec<Place>>,
    /// The database that each state directory belongs to.
    states: HashMap<PathBuf, PathBuf>,
    /// The database that each place belongs to, and the name of the replica there.
    replicas: HashMap<Place, (PathBuf, String)>,
}

/// Where a replica is, however it is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    File(PathBuf),
    S3 { endpoint: Option<String>, bucket: String, prefix: String },
}

/// Why a database cannot have its places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    Database(PathBuf),
    State {
        path: PathBuf,
        owner: PathBuf,
    },
    /// `number` is that of the replica in the list of the database that came later.
    Replica {
        number: usize,
        name: String,
        owner: PathBuf,
    },
}

impl Places {
    /// Takes the places of a database, all or none.
    pub fn claim(&mut self, database: &DatabaseOptions) -> Result<(), Conflict> {
        let (path, state) = (&database.path, &database.state_directory);
        if self.databases.contains_key(path) {
            return Err(Conflict::Database(path.clone()));
        }
        if let Some(owner) = self.states.get(state) {
            return Err(Conflict::State { path: state.clone(), owner: owner.clone() });
        }
        let mut places: Vec<Place> = Vec::new();
        for (number, replica) in database.replicas.iter().enumerate() {
            let place = Place::of(replica);
            let own = places.iter().position(|other| *other == place);
            let own = own.map(|own| (path, &database.replicas[own].name));
            let other = self.replicas.get(&place).map(|(owner, name)| (owner, name));
            if let Some((owner, name)) = other.or(own) {
                return Err(Conflict::Replica { number, name: name.clone(), owner: owner.clone() });
            }
            places.push(place);
        }
        self.states.insert(state.clone(), path.clone());
        let names = database.replicas.iter().map(|replica| (path.clone(), replica.name.clone()));
        self.replicas.extend(places.iter().cloned().zip(names));
        self.databases.insert(path.clone(), places);
        Ok(())
    }

    /// Gives up the places of a database.
    pub fn release(&mut self, database: &Path) {
        for place in self.databases.remove(database).unwrap_or_default() {
            self.replicas.remove(&place);
        }
        self.states.retain(|_, owner| owner != database);
    }
}

impl Place {
    pub(super) fn of(replica: &ReplicaOptions) -> Self {
        match &replica.location {
            Location::File(path) => Self::File(path.clone()),
            Location::S3(place) => Self::S3 {
                endpoint: place.endpoint.clone(),
                bucket: place.bucket.clone(),
                prefix: place.prefix.clone(),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::S3 { endpoint, bucket, prefix } => {
                write!(f, "s3 {} {bucket} {prefix}", endpoint.as_deref().unwrap_or("aws"))
            }
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(path) => write!(f, "duplicate database path: {}", path.display()),
            Self::State { path, owner } => {
                write!(f, "{} is already used for {}", path.display(), owner.display())
            }
            Self::Replica { name, owner, .. } => {
                write!(f, "replica {name:?} of {} is kept in the same place", owner.display())
            }
        }
    }
}

impl std::error::Error for Conflict {}
