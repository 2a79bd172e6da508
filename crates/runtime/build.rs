//! Tells the compiler which revision is being built: `PENSTOCK_REVISION`, else what git says.
//!
//! Development builds do not ask git, or every commit would compile the crates above this one again.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PENSTOCK_REVISION");
    let given = std::env::var("PENSTOCK_REVISION").ok().filter(|r| !r.is_empty());
    let release = std::env::var("PROFILE").is_ok_and(|p| p == "release");
    let revision = given.or_else(|| release.then(revision_of_git).flatten());
    let fallback = if release { "unknown" } else { "development" };
    println!("cargo:rustc-env=PENSTOCK_REVISION={}", revision.as_deref().unwrap_or(fallback));
}

/// None without git, and in an unpacked source archive.
fn revision_of_git() -> Option<String> {
    let directory = git(&["rev-parse", "--absolute-git-dir"])?;
    // The log of HEAD grows with every commit and check-out.
    for file in ["HEAD", "logs/HEAD"] {
        let path = Path::new(&directory).join(file);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}
