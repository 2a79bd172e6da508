//! Files to objects: what each file says now, what it said last, and which file an object belongs to.

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use penstock_api::reasons::{ConditionType, RuleReason};
use penstock_api::schema::CheckerError;
use penstock_model::Problem;
use penstock_translate::Snapshot;
use serde_json::Value;

use super::decode::{Decoded, Decoder, problem};
use super::files::{Stamp, manifests};
use super::{FileProblem, Place, file_ref, pods};
use crate::store::{Id, Kind, Object, snapshot};
use crate::yaml::{self, Document};

/// Why files cannot be loaded at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A path that was named does not exist, or cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Our own schemas are broken.
    #[error(transparent)]
    Schema(#[from] CheckerError),
}

/// What files say.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Every object that is in force.
    pub objects: Vec<Object>,
    /// Everything wrong, in the order of the files.
    pub problems: Vec<FileProblem>,
    /// Where each object starts.
    pub places: BTreeMap<Id, Place>,
    /// Objects of kinds that are not read.
    pub skipped: usize,
}

impl Loaded {
    /// The objects as a translation sees them.
    pub fn snapshot(&self) -> Snapshot {
        snapshot(self.objects.clone())
    }
}

/// Loads files and folders once; `-` is the standard input.
///
/// # Errors
/// When a path does not exist or cannot be read; what is wrong inside a file becomes a problem.
pub fn load_folder(paths: &[PathBuf]) -> Result<Loaded, LoadError> {
    let mut files = Files::new()?;
    for path in paths {
        let error = |error| LoadError::Unreadable { path: path.clone(), error };
        if path.as_os_str() == "-" {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map_err(error)?;
            files.read(Path::new("<stdin>"), None, &text);
        } else if fs::metadata(path).map_err(error)?.is_dir() {
            for (file, _) in manifests(path).map_err(error)? {
                let text = fs::read(&file).map_err(|error| LoadError::Unreadable { path: file.clone(), error })?;
                files.read_bytes(&file, None, text);
            }
        } else {
            files.read_bytes(path, None, fs::read(path).map_err(error)?);
        }
    }
    Ok(files.loaded())
}

/// Loads a text as if it were a file.
///
/// # Errors
/// When our own schemas are broken; what is wrong in the text becomes a problem.
pub fn load_text(path: &Path, text: &str) -> Result<Loaded, CheckerError> {
    let mut files = Files::new()?;
    files.read(path, None, text);
    Ok(files.loaded())
}

/// The files of a folder and what each said last.
pub(super) struct Files {
    decoder: Decoder,
    pub(super) files: BTreeMap<PathBuf, File>,
}

/// What a file says.
#[derive(Default)]
pub(super) struct File {
    pub(super) stamp: Option<Stamp>,
    pub(super) objects: Vec<Entry>,
    pub(super) problems: Vec<FileProblem>,
    skipped: usize,
}

/// An object of a file.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) object: Object,
    pub(super) line: usize,
}

/// The entries of a file by what names an object: its kind, namespace and name.
type Last<'f> = HashMap<(Kind, &'f str, &'f str), &'f Entry>;

impl Files {
    pub(super) fn new() -> Result<Self, CheckerError> {
        Ok(Self { decoder: Decoder::new()?, files: BTreeMap::new() })
    }

    pub(super) fn read_bytes(&mut self, path: &Path, stamp: Option<Stamp>, bytes: Vec<u8>) {
        match String::from_utf8(bytes) {
            Ok(text) => self.read(path, stamp, &text),
            Err(error) => {
                let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
                let line = 1 + good.iter().filter(|b| **b == b'\n').count();
                self.keep_last(path, line, "not UTF-8; save it as UTF-8".to_owned(), stamp);
            }
        }
    }

    fn read(&mut self, path: &Path, stamp: Option<Stamp>, text: &str) {
        let documents = if path.extension().is_some_and(|extension| extension == "json") {
            json_documents(text)
        } else {
            yaml::documents(text).map_err(|error| (error.line, error.message))
        };
        match documents {
            Ok(documents) => {
                let last = self.files.remove(path).unwrap_or_default();
                let last: Last<'_> = last.objects.iter().rev().map(|entry| (entry.object.names(), entry)).collect();
                let mut file = File { stamp, ..File::default() };
                for document in documents {
                    for value in items(document.value) {
                        self.take(&mut file, &last, &Place { path: path.to_owned(), line: document.line }, value);
                    }
                }
                // Of thousands of objects it would keep as much again as they need.
                file.objects.shrink_to_fit();
                self.files.insert(path.to_owned(), file);
            }
            Err((line, message)) => self.keep_last(path, line, message, stamp),
        }
    }

    /// Takes an object of a file.
    fn take(&self, file: &mut File, last: &Last<'_>, place: &Place, raw: Value) {
        let problems = match self.decoder.decode(raw) {
            Decoded::Object(object, problems) => {
                // What says the same stays the same object.
                let same = last.get(&object.names()).filter(|entry| entry.object == object);
                let object = same.map(|entry| entry.object.clone()).unwrap_or(object);
                file.objects.push(Entry { object, line: place.line });
                problems
            }
            Decoded::Refused(id, problems) => {
                let good = last.get(&(id.kind, &*id.key.namespace, &*id.key.name));
                file.objects.extend(good.map(|&entry| entry.clone()));
                problems
            }
            Decoded::Other => {
                file.skipped += 1;
                return;
            }
            Decoded::Nothing(message) => vec![file_problem(&place.path, message)],
        };
        file.problems.extend(problems.into_iter().map(|problem| FileProblem { place: place.clone(), problem }));
    }

    /// A file that does not parse: its last good objects stay.
    pub(super) fn keep_last(&mut self, path: &Path, line: usize, message: String, stamp: Option<Stamp>) {
        let place = Place { path: path.to_owned(), line };
        let file = self.files.entry(path.to_owned()).or_default();
        file.stamp = stamp;
        file.problems = vec![FileProblem { place, problem: file_problem(path, message) }];
    }

    /// All files together: the first path keeps an object.
    pub(super) fn loaded(&self) -> Loaded {
        let mut loaded = Loaded::default();
        let mut objects = BTreeMap::new();
        for (path, file) in &self.files {
            loaded.problems.extend(file.problems.iter().cloned());
            loaded.skipped += file.skipped;
            for entry in &file.objects {
                let id = entry.object.id();
                let place = Place { path: path.clone(), line: entry.line };
                match loaded.places.entry(id.clone()) {
                    MapEntry::Vacant(free) => {
                        free.insert(place);
                        objects.insert(id, entry.object.clone());
                    }
                    MapEntry::Occupied(taken) => {
                        loaded.problems.push(twice(&id, place, taken.get()));
                    }
                }
            }
        }
        let (pods, others): (Vec<_>, Vec<_>) = objects.into_values().partition(|o| o.id().kind == Kind::Pod);
        loaded.objects = others;
        loaded.objects.extend(pods::of_services(&loaded.objects, &pods));
        loaded
    }
}

/// An object that another file has, too.
pub(super) fn twice(id: &Id, place: Place, first: &Place) -> FileProblem {
    let message = format!("the same object is already in {first}; remove one of them");
    FileProblem { place, problem: problem(id, message) }
}

fn file_problem(path: &Path, message: String) -> Problem {
    let condition = ConditionType::Accepted.as_str();
    Problem { object: file_ref(path), condition, reason: RuleReason::InvalidValue.as_str(), message }
}

/// JSON values one after the other.
fn json_documents(text: &str) -> Result<Vec<Document>, (usize, String)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let mut documents = Vec::new();
    loop {
        let rest = text.get(values.byte_offset()..).unwrap_or_default();
        let start = text.len() - rest.trim_start().len();
        let line = 1 + text.bytes().take(start).filter(|b| *b == b'\n').count();
        match values.next() {
            None => return Ok(documents),
            Some(Ok(value)) => documents.push(Document { line, value }),
            Some(Err(error)) => {
                let message = error.to_string();
                let end = message.find(" at line ").unwrap_or(message.len());
                return Err((error.line(), message.get(..end).unwrap_or(&message).to_owned()));
            }
        }
    }
}

/// The objects of a `List` of any kind; else the object itself.
fn items(mut value: Value) -> Vec<Value> {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let api_version = value.get("apiVersion").cloned().unwrap_or_default();
    let items = value.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
    let (Some(kind), Some(items)) = (kind.strip_suffix("List"), items) else { return vec![value] };
    let complete = |mut item: Value| {
        if let Some(object) = item.as_object_mut()
            && !kind.is_empty()
        {
            object.entry("kind").or_insert_with(|| kind.into());
            object.entry("apiVersion").or_insert_with(|| api_version.clone());
        }
        item
    };
    items.into_iter().map(complete).collect()
}
