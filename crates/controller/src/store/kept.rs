//! What was read last, kept in a file: a container that starts again while the API server is away serves it at once.
//!
//! One JSON value a line: what the file belongs to, what is not an object, and the objects. It holds the keys of
//! certificates, so nobody else may read it, and it belongs into memory (an emptyDir of medium Memory). A file that does not
//! fit this process, or is broken, counts as none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use penstock_model::GatewayId;
use penstock_translate::{Key, Snapshot};
use serde::{Deserialize, Serialize};

use super::change::{Change, Id, Kind, Object, Scope};
use super::debounce::Delays;
use super::objects::Objects;

/// How soon after a change it is written: not with each change of many.
pub(super) const DELAYS: Delays = Delays { quiet: Duration::from_secs(1), max: Duration::from_secs(5), at_once: 0 };
const FILE: &str = "last-good.jsonl";
/// Changes with what the lines mean.
const FORMAT: u32 = 1;

/// The file of one installation.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    owner: Owner,
}

/// Whose objects these are: of another class, or read from other namespaces, they are not ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Owner {
    format: u32,
    class: String,
    namespaces: Vec<Arc<str>>,
}

/// What is known besides objects.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Facts {
    /// How many objects follow.
    objects: usize,
    /// References that were looked up, also those that lead nowhere.
    answered: Vec<Id>,
    /// Whether ReferenceGrants could be read.
    grants: bool,
    /// Gateway, port of the listener, and the local port.
    local_ports: Option<Vec<(Key, u16, u16)>>,
}

/// Why there is nothing to read, or nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeptError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("it belongs to class {0:?} and namespaces {1:?}, or to another version")]
    Foreign(String, Vec<Arc<str>>),
    #[error("it has {0} objects instead of {1}")]
    Short(usize, usize),
}

impl Kept {
    pub(crate) fn new(folder: PathBuf, class: &str, namespaces: &[Arc<str>]) -> Self {
        let owner = Owner { format: FORMAT, class: class.to_owned(), namespaces: namespaces.to_vec() };
        Self { folder, owner }
    }

    /// The changes that make an empty store what it was; none when there is no file.
    pub(crate) fn read(&self, lists: &[Scope]) -> Result<Option<Vec<Change>>, KeptError> {
        let file = match File::open(self.folder.join(FILE)) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut lines = file.lines();
        let mut next = || lines.next().unwrap_or(Ok(String::new()));
        let owner: Owner = serde_json::from_str(&next()?)?;
        if owner != self.owner {
            return Err(KeptError::Foreign(owner.class, owner.namespaces));
        }
        let facts: Facts = serde_json::from_str(&next()?)?;
        let mut objects = Vec::with_capacity(facts.objects);
        for line in lines {
            objects.push(serde_json::from_str::<Object>(&line?)?);
        }
        if objects.len() != facts.objects {
            return Err(KeptError::Short(objects.len(), facts.objects));
        }
        Ok(Some(facts.changes(objects, lists)))
    }

    /// Writes what there is now. The file is there whole, or as it was.
    pub(super) fn write(&self, snapshot: &Snapshot, answered: Vec<Id>) -> Result<(), KeptError> {
        let objects = all(snapshot);
        let facts = Facts {
            objects: objects.len(),
            answered,
            grants: snapshot.grants.is_some(),
            local_ports: snapshot.local_ports.as_ref().map(|ports| {
                let port = |((gateway, port), local): (&(GatewayId, u16), &u16)| {
                    (Key::new(Arc::clone(&gateway.namespace), Arc::clone(&gateway.name)), *port, *local)
                };
                ports.iter().map(port).collect()
            }),
        };
        let draft = self.folder.join(format!(".{FILE}"));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        let mut file = BufWriter::new(file);
        line(&mut file, &self.owner)?;
        line(&mut file, &facts)?;
        for object in &objects {
            line(&mut file, object)?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(fs::rename(draft, self.folder.join(FILE))?)
    }
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.folder.join(FILE).display().fmt(f)
    }
}

impl Facts {
    fn changes(self, objects: Vec<Object>, lists: &[Scope]) -> Vec<Change> {
        let referred = |kind| matches!(kind, Kind::Secret | Kind::ConfigMap | Kind::Pod);
        let (answers, listed): (Vec<_>, Vec<_>) = objects.into_iter().partition(|object| referred(object.id().kind));
        let mut answers: std::collections::BTreeMap<Id, Object> =
            answers.into_iter().map(|object| (object.id(), object)).collect();
        let mut changes = Vec::new();
        for scope in lists {
            if scope.kind == Kind::Grant && !self.grants {
                changes.push(Change::Absent(scope.clone()));
                continue;
            }
            let objects = listed.iter().filter(|object| scope.holds(&object.id())).cloned().collect();
            changes.push(Change::Replace { scope: scope.clone(), objects, broken: Vec::new() });
        }
        for id in self.answered {
            let object = answers.remove(&id);
            changes.push(Change::Answer(id, object));
        }
        if let Some(ports) = self.local_ports {
            let port = |(gateway, port, local): (Key, u16, u16)| {
                ((GatewayId::new(gateway.namespace, gateway.name), port), local)
            };
            changes.push(Change::LocalPorts(ports.into_iter().map(port).collect()));
        }
        changes
    }
}

impl Objects {
    /// References that were looked up.
    pub(super) fn answered(&self) -> Vec<Id> {
        self.answered.iter().cloned().collect()
    }
}

fn line(file: &mut impl io::Write, value: &impl Serialize) -> Result<(), KeptError> {
    serde_json::to_writer(&mut *file, value)?;
    Ok(file.write_all(b"\n")?)
}

/// Every object of a snapshot.
fn all(snapshot: &Snapshot) -> Vec<Object> {
    let s = snapshot;
    let mut all: Vec<Object> = s.gateways.values().cloned().map(Object::Gateway).collect();
    all.extend(s.rules.values().cloned().map(Object::Rule));
    all.extend(s.services.values().cloned().map(Object::Service));
    all.extend(s.endpoint_slices.values().flatten().cloned().map(Object::EndpointSlice));
    all.extend(s.secrets.values().cloned().map(Object::Secret));
    all.extend(s.config_maps.values().cloned().map(Object::ConfigMap));
    all.extend(s.pods.iter().map(|(service, pod)| Object::Pod { service: service.clone(), pod: pod.clone() }));
    all.extend(s.namespaces.values().cloned().map(Object::Namespace));
    all.extend(s.grants.iter().flat_map(|grants| grants.values()).cloned().map(Object::Grant));
    all
}

#[cfg(test)]
mod tests;
