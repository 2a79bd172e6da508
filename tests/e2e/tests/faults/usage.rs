//! What a process holds, and the table's rows.

use std::fs;

use penstock_e2e::load::Report;
use penstock_testkit::Process;

/// Memory and descriptors of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) megabytes: f64,
    pub(crate) files: usize,
}

/// What it holds now.
pub(crate) fn usage(process: &Process) -> Usage {
    let pid = process.id().expect("it runs");
    let files = fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or_default();
    Usage { megabytes: process.own_memory() / f64::from(1 << 20), files }
}

/// One line of the table.
pub(crate) fn row(fault: &str, report: &Report, before: Usage, after: Usage) {
    let kinds: Vec<_> = report.kinds.iter().map(|(kind, count)| format!("{count} x {kind}")).collect();
    let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
    println!(
        "\n| {fault} | {} | {kinds} | {} of {} | {} | {:.1} to {:.1} MB, {} to {} files |",
        report.answered,
        report.cut,
        report.opened,
        report.messages,
        before.megabytes,
        after.megabytes,
        before.files,
        after.files
    );
}
