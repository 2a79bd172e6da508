//! Which files a folder has, and whether one is different from the last time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What tells two versions of a file apart without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
    /// Time of the last change of the inode: also when the modification time was set by hand.
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: metadata.modified().ok(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The manifests below a folder by path. Hidden files are skipped; links are followed, a circle of them once.
pub(super) fn manifests(folder: &Path) -> io::Result<BTreeMap<PathBuf, Stamp>> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    seen.insert(fs::canonicalize(folder)?);
    descend(folder, &mut found, &mut seen)?;
    Ok(found)
}

fn descend(folder: &Path, found: &mut BTreeMap<PathBuf, Stamp>, seen: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        // A file that has gone since, or a link that leads nowhere, is no file.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if hidden {
            continue;
        }
        if metadata.is_dir() {
            let real = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            if seen.insert(real) {
                // A folder that may not be read hurts only itself.
                if let Err(error) = descend(&path, found, seen) {
                    tracing::warn!(folder = %path.display(), %error, "skipping a folder");
                }
            }
        } else if is_manifest(&path) {
            found.insert(path, Stamp::of(&metadata));
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_manifests_below_links_and_no_hidden_ones() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::create_dir_all(root.join("..data")).unwrap();
        for name in ["a.yaml", "sub/b.yml", "sub/c.json", "d.txt", ".e.yaml", "..data/f.yaml"] {
            fs::write(root.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("..data/f.yaml", root.join("f.yaml")).unwrap();
        std::os::unix::fs::symlink("..", root.join("sub/circle")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("g.yaml")).unwrap();
        let found: Vec<_> =
            manifests(root).unwrap().into_keys().map(|p| p.strip_prefix(root).unwrap().display().to_string()).collect();
        assert_eq!(found, ["a.yaml", "f.yaml", "sub/b.yml", "sub/c.json"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(manifests(Path::new("/nowhere/at/all")).is_err());
    }
}
