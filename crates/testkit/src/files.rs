//! A folder of manifests for the standalone mode, gone with the value.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A temporary folder of YAML files.
#[derive(Debug)]
pub struct Manifests {
    dir: TempDir,
}

impl Manifests {
    /// An empty folder.
    ///
    /// # Panics
    /// When the system's temporary folder cannot be written.
    #[must_use]
    pub fn new() -> Self {
        Self { dir: TempDir::with_prefix("penstock-manifests-").expect("a temporary folder can be made") }
    }

    /// Where it is, for `--manifests`.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file whole: readers see the old or the new one, never a part. `name` may have folders in it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, yaml: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        let folder = path.parent().expect("a file in the folder has a parent");
        fs::create_dir_all(folder).expect("a folder can be made");
        // Hidden, as a ConfigMap's own temporary files are: not read while it is written.
        let temporary = folder.join(format!(".{}.new", path.file_name().unwrap_or_default().to_string_lossy()));
        fs::write(&temporary, yaml).unwrap_or_else(|e| panic!("writing {}: {e}", temporary.display()));
        fs::rename(&temporary, &path).unwrap_or_else(|e| panic!("writing {}: {e}", path.display()));
        path
    }

    /// Removes a file.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, name: &str) {
        let path = self.dir.path().join(name);
        fs::remove_file(&path).unwrap_or_else(|e| panic!("removing {}: {e}", path.display()));
    }
}

impl Default for Manifests {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replaces_and_removes() {
        let folder = Manifests::new();
        let path = folder.write("a/b.yaml", "one");
        folder.write("a/b.yaml", "two");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
        folder.remove("a/b.yaml");
        assert!(!path.exists());
    }
}
