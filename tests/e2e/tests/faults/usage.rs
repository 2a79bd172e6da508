//! What a process holds, and the table's rows.

use std::fs;

use penstock_e2e::load::Report;

/// Memory and descriptors of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) megabytes: f64,
    pub(crate) files: usize,
}

pub(crate) fn usage(pid: u32) -> Usage {
    let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kilobytes =
        memory.lines().find_map(|line| line.strip_prefix("Pss_Anon:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    let files = fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).unwrap_or_default();
    Usage { megabytes: kilobytes.unwrap_or(0.0) / 1024.0, files }
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
