//! Host patterns to values: exact names and suffixes by hash, the few patterns with wildcards elsewhere in a list.

use penstock_model::HostPattern;

use crate::names::Names;

/// Values by host pattern. A copy shares what is not changed in it.
#[derive(Clone, Debug)]
pub(crate) struct HostMap<V> {
    exact: Names<V>,
    /// `.example.com` for `*.example.com`.
    suffix: Names<V>,
    /// Best first.
    globs: Vec<(HostPattern, V)>,
    any: Option<V>,
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        Self::expecting(0, 0)
    }
}

impl<V> HostMap<V> {
    /// An empty map that expects so many exact names and suffixes.
    pub(crate) fn expecting(exact: usize, suffix: usize) -> Self {
        Self { exact: Names::expecting(exact), suffix: Names::expecting(suffix), globs: Vec::new(), any: None }
    }
}

impl<V: Clone> HostMap<V> {
    /// The value of exactly this pattern; made by `new` when there is none.
    pub(crate) fn entry(&mut self, pattern: &HostPattern, new: impl FnOnce() -> V) -> &mut V {
        match pattern {
            HostPattern::Any => self.any.get_or_insert_with(new),
            HostPattern::Exact(name) => self.exact.entry(name, new),
            HostPattern::Suffix(suffix) => self.suffix.entry(suffix, new),
            HostPattern::Glob(_) => {
                let place = self.globs.partition_point(|(other, _)| other > pattern);
                if self.globs.get(place).is_none_or(|(other, _)| other != pattern) {
                    self.globs.insert(place, (pattern.clone(), new()));
                }
                &mut self.globs[place].1
            }
        }
    }

    /// Takes out exactly this pattern.
    pub(crate) fn remove(&mut self, pattern: &HostPattern) {
        match pattern {
            HostPattern::Any => self.any = None,
            HostPattern::Exact(name) => self.exact.remove(name),
            HostPattern::Suffix(suffix) => self.suffix.remove(suffix),
            HostPattern::Glob(_) => self.globs.retain(|(other, _)| other != pattern),
        }
    }
}

impl<V> HostMap<V> {
    /// The value of exactly this pattern.
    pub(crate) fn get(&self, pattern: &HostPattern) -> Option<&V> {
        match pattern {
            HostPattern::Any => self.any.as_ref(),
            HostPattern::Exact(name) => self.exact.get(name),
            HostPattern::Suffix(suffix) => self.suffix.get(suffix),
            HostPattern::Glob(_) => self.globs.iter().find(|(other, _)| other == pattern).map(|(_, value)| value),
        }
    }

    /// Every value, in no order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.exact
            .values()
            .chain(self.suffix.values())
            .chain(self.globs.iter().map(|(_, value)| value))
            .chain(&self.any)
    }

    /// Values of all patterns that take a lower-case host, best fit first.
    pub(crate) fn matching<'a, 'h>(&'a self, host: &'h str) -> impl Iterator<Item = &'a V> + use<'a, 'h, V> {
        let exact = self.exact.get(host);
        // A suffix is as specific as it is long; globs stand between them by their own length.
        let mut globs = self.globs.iter().filter(|(glob, _)| glob.matches(host)).peekable();
        let searched = if self.suffix.is_empty() { "" } else { host };
        let mut suffixes = searched
            .match_indices('.')
            .filter(|&(at, _)| at > 0)
            .filter_map(|(at, _)| self.suffix.get(&searched[at..]).map(|value| (searched.len() - at + 1, value)))
            .peekable();
        let wild = std::iter::from_fn(move || {
            let glob = globs.peek().map(|(glob, _)| glob.specificity().1);
            let suffix = suffixes.peek().map(|&(length, _)| length);
            if glob > suffix { globs.next().map(|(_, value)| value) } else { suffixes.next().map(|(_, value)| value) }
        });
        exact.into_iter().chain(wild).chain(&self.any)
    }
}

/// A host in lower case on the stack; `None` for one that is longer than any name can be.
pub(crate) fn lower<'a>(host: &str, buffer: &'a mut [u8; 256]) -> Option<&'a str> {
    let bytes = buffer.get_mut(..host.len())?;
    bytes.copy_from_slice(host.as_bytes());
    bytes.make_ascii_lowercase();
    std::str::from_utf8(bytes).ok()
}
