//! Open files: every connection costs one, and most systems allow 1024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// The limit could not be raised.
#[derive(Debug, Error)]
#[error(
    "the limit of open files stays at {soft} instead of {hard}: {source}; raise it with `ulimit -n {hard}` before the start"
)]
pub struct LimitError {
    /// The limit in force.
    pub soft: u64,
    /// The limit that was asked for.
    pub hard: u64,
    source: std::io::Error,
}

/// How many files the process may have open now.
#[must_use]
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the soft limit of open files to the hard one, and returns what is in force then.
///
/// # Errors
/// The system refused; the old limit stays.
pub fn raise_open_files() -> Result<u64, LimitError> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).map_err(|error| LimitError {
            soft: current.unwrap_or(u64::MAX),
            hard: maximum.unwrap_or(u64::MAX),
            source: error.into(),
        })?;
    }
    Ok(open_files())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raises_a_lowered_limit() {
        let before = getrlimit(Resource::Nofile);
        let lowered = before.maximum.map_or(512, |hard| hard.min(512));
        setrlimit(Resource::Nofile, Rlimit { current: Some(lowered), maximum: before.maximum }).unwrap();
        assert_eq!(open_files(), lowered);
        assert_eq!(raise_open_files().unwrap(), before.maximum.unwrap_or(u64::MAX));
    }
}
