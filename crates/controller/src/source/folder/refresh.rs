//! What became different in a folder since the last look, as changes for the store: as much work as there is difference.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::{fs, io, mem};

use super::files::manifests;
use super::load::{File, Files, twice};
use super::{FileProblem, KINDS, Place};
use crate::store::{Change, Id, Kind, Object, Scope};

/// A folder that is looked at again and again.
pub(super) struct Folder {
    files: Files,
    /// Objects that more than one file has: what is said about all but the first.
    twice: BTreeMap<Id, Vec<FileProblem>>,
}

impl Folder {
    pub(super) fn new(files: Files) -> Self {
        Self { files, twice: BTreeMap::new() }
    }

    /// Reads what is different. `all`: says everything again; else nothing when nothing is different.
    pub(super) fn refresh(&mut self, folder: &Path, all: bool) -> io::Result<Vec<Change>> {
        let found = manifests(folder)?;
        let mut touched = BTreeSet::new();
        let mut changed = all;
        self.files.files.retain(|path, file| {
            let there = found.contains_key(path);
            if !there {
                touch(&mut touched, file);
            }
            changed |= !there;
            there
        });
        for (path, stamp) in found {
            let last = self.files.files.get(&path);
            if last.and_then(|file| file.stamp.as_ref()) == Some(&stamp) {
                continue;
            }
            changed = true;
            last.into_iter().for_each(|file| touch(&mut touched, file));
            match fs::read(&path) {
                Ok(bytes) => self.files.read_bytes(&path, Some(stamp), bytes),
                // Gone since it was listed: its event is on the way.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => self.files.keep_last(&path, 1, format!("cannot be read: {error}"), None),
            }
            self.files.files.get(&path).into_iter().for_each(|file| touch(&mut touched, file));
        }
        if !changed {
            return Ok(Vec::new());
        }
        // Which Pod stands for a Service depends on all of both.
        let pods = || self.entries().any(|(_, object, _)| matches!(object, Object::Pod { .. }));
        let services = touched.iter().any(|id| matches!(id.kind, Kind::Service | Kind::Pod));
        let mut changes = if all || services && pods() { self.everything() } else { self.differences(touched) };
        changes.push(Change::Problems(self.problems()));
        Ok(changes)
    }

    fn entries(&self) -> impl Iterator<Item = (&Path, &Object, usize)> {
        self.files
            .files
            .iter()
            .flat_map(|(path, file)| file.objects.iter().map(|entry| (path.as_path(), &entry.object, entry.line)))
    }

    /// Every list.
    fn everything(&mut self) -> Vec<Change> {
        let loaded = self.files.loaded();
        let all = self.entries().map(|(_, object, _)| object.id()).collect();
        self.find_twice(&all);
        let mut lists: Vec<Vec<Object>> = KINDS.iter().map(|_| Vec::new()).collect();
        for object in loaded.objects {
            let kind = object.names().0;
            if let Some(list) = KINDS.iter().position(|other| *other == kind).and_then(|at| lists.get_mut(at)) {
                list.push(object);
            }
        }
        let replace =
            |(kind, objects)| Change::Replace { scope: Scope { kind, namespace: None }, objects, broken: Vec::new() };
        KINDS.into_iter().zip(lists).map(replace).collect()
    }

    /// What these objects are now: the first file that has one decides.
    fn differences(&mut self, touched: BTreeSet<Id>) -> Vec<Change> {
        let mut first = self.find_twice(&touched);
        let change = |id: Id| match first.remove(&id) {
            Some(object) => Change::Put(object),
            None => Change::Remove(id),
        };
        touched.into_iter().map(change).collect()
    }

    /// Looks for some objects: notes which of them several files have, and gives back those of the first file.
    fn find_twice(&mut self, ids: &BTreeSet<Id>) -> BTreeMap<Id, Object> {
        let mut twice_now = mem::take(&mut self.twice);
        twice_now.retain(|id, _| !ids.contains(id));
        // Every object of the folder is looked up: by a hash, for names are alike.
        let by_names: HashMap<_, _> = ids.iter().map(|id| ((id.kind, &*id.key.namespace, &*id.key.name), id)).collect();
        let mut first: BTreeMap<Id, (Object, Place)> = BTreeMap::new();
        for (path, object, line) in self.entries() {
            let Some(&id) = by_names.get(&object.names()) else { continue };
            let place = Place { path: path.to_owned(), line };
            match first.get(id) {
                None => drop(first.insert(id.clone(), (object.clone(), place))),
                Some((_, taken)) => twice_now.entry(id.clone()).or_default().push(twice(id, place, taken)),
            }
        }
        self.twice = twice_now;
        first.into_iter().map(|(id, (object, _))| (id, object)).collect()
    }

    /// Everything that is wrong, in the order of the files.
    fn problems(&self) -> Vec<penstock_model::Problem> {
        let in_files = self.files.files.values().flat_map(|file| &file.problems);
        let mut problems: Vec<_> = in_files.chain(self.twice.values().flatten()).cloned().collect();
        problems.sort();
        problems.into_iter().map(FileProblem::into_problem).collect()
    }
}

fn touch(touched: &mut BTreeSet<Id>, file: &File) {
    touched.extend(file.objects.iter().map(|entry| entry.object.id()));
}
