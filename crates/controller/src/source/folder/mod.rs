//! A folder of manifests as a source, and any files for `penstock check`.
//!
//! Objects of files mean what they would mean in the API server: defaults, pruning and CEL rules of the schema apply.
//! A file that does not parse leaves its last good objects in force.

mod decode;
mod files;
mod load;
mod pods;
mod refresh;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};

use penstock_model::{ObjectRef, Problem};

pub use load::{LoadError, Loaded, load_folder, load_text};
pub(crate) use watch::{KINDS, watch};

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was found.
    pub path: PathBuf,
    /// The line, from 1; of an object: where it starts.
    pub line: usize,
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileProblem {
    /// Where.
    pub place: Place,
    /// Whose and what. Of the kind `File` when no object can be named.
    pub problem: Problem,
}

impl FileProblem {
    /// The problem as one that belongs to no place: its message names the file and the line.
    pub fn into_problem(self) -> Problem {
        Problem { message: format!("{}: {}", self.place, self.problem.message), ..self.problem }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// A file as the object of a problem; it prints as its path.
fn file_ref(path: &Path) -> ObjectRef {
    let text = |part: Option<String>| part.unwrap_or_default().into();
    ObjectRef {
        kind: "File",
        namespace: text(path.parent().map(|parent| parent.display().to_string())),
        name: text(path.file_name().map(|name| name.to_string_lossy().into_owned())),
    }
}
