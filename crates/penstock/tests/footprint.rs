//! How much of the program itself is in memory.

mod support;

use std::fs;

use penstock_testkit::{Backend, DEADLINE, until};
use support::{Gateway, http_gateway, rule, service};

/// Kilobytes of the program's code in the memory of a process (proc_pid_smaps(5)).
fn code(pid: u32) -> u64 {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the process runs");
    let mapping = smaps.split("\nVmFlags:").find(|mapping| mapping.contains(" r-xp ") && mapping.contains("/penstock"));
    let resident = mapping.and_then(|mapping| mapping.lines().find_map(|line| line.strip_prefix("Rss:")));
    resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok()).expect("its code is mapped")
}

#[tokio::test]
async fn the_code_of_the_start_leaves_memory_and_nothing_is_lost() {
    let backend = Backend::start("one").await;
    let objects =
        [http_gateway(""), rule("all", "backend: {services: [{name: app, port: 80}]}"), service("app", &[&backend])];
    let gateway = Gateway::start(&objects).await;
    let pid = gateway.process.id().expect("it runs");
    let most = code(pid);
    until("less code", DEADLINE, || async { code(pid) }, |now| *now < most * 9 / 10).await;
    assert_eq!(gateway.get("a.example", "/").await.status, 200);
}
