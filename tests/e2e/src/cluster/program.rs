//! The programs that a user would run: kubectl, Helm, and the script of the local cluster.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Runs kubectl and returns what it prints.
///
/// # Panics
/// When it fails, with what it said.
pub async fn kubectl(args: &[&str]) -> String {
    kubectl_input(args, "").await
}

/// The same with this input.
///
/// # Panics
/// When it fails, with what it said.
pub async fn kubectl_input(args: &[&str], input: &str) -> String {
    run("kubectl".as_ref(), args, input).await
}

/// Runs kubectl with a program as its plugin `penstock`, and returns what it prints.
///
/// # Panics
/// When it fails, with what it said.
pub async fn kubectl_plugin(program: &Path, args: &[&str]) -> String {
    let folder = std::env::temp_dir().join(format!("penstock-plugin-{}", std::process::id()));
    let link = folder.join("kubectl-penstock");
    let linked =
        std::fs::create_dir_all(&folder).and_then(|()| std::os::unix::fs::symlink(root().join(program), &link));
    linked.unwrap_or_else(|error| panic!("{}: {error}", link.display()));
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("kubectl");
    let output = command.arg("penstock").args(args).env("PATH", format!("{}:{path}", folder.display())).output().await;
    let _ = std::fs::remove_dir_all(&folder);
    let output = output.unwrap_or_else(|error| panic!("kubectl: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl penstock failed ({}): {}", output.status, stderr.trim());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs Helm in the root of the repository, and returns what it prints.
///
/// # Panics
/// When it fails, with what it said.
pub async fn helm(args: &[&str]) -> String {
    run("helm".as_ref(), args, "").await
}

/// Runs a script of the repository, such as `tests/cluster/cluster`.
///
/// # Panics
/// When it fails, with what it said.
pub async fn script(path: &str, args: &[&str]) -> String {
    run(&root().join(path), args, "").await
}

async fn run(program: &Path, args: &[&str], input: &str) -> String {
    let what = format!("{} {}", program.display(), args.join(" "));
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        // A program that has failed by now says why on stderr; a broken pipe adds nothing.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = child.wait_with_output().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what} failed ({}): {}", output.status, stderr.trim());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
