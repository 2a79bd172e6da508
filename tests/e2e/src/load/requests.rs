//! Requests at a steady rate, each on a connection that is kept for a while.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use penstock_testkit::{Connection, Request};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

use super::report::Tally;
use super::{Plan, stopped};

/// After so many requests a connection is replaced, so that new ones are always among them.
const REQUESTS_PER_CONNECTION: u32 = 50;

struct Kept {
    connection: Connection,
    used: u32,
}

/// A request every so often, until told to stop. One that is late does not make the next ones fewer.
pub(super) async fn steadily(
    plan: Plan,
    tally: Arc<Tally>,
    (every, offset): (Duration, Duration),
    mut stop: watch::Receiver<bool>,
) {
    let request = Request::get(&plan.host, "/load");
    let mut ticks = interval_at(Instant::now() + offset, every);
    let mut kept = None;
    loop {
        tokio::select! {
            _ = stopped(&mut stop) => return,
            _ = ticks.tick() => {}
        }
        let start = Instant::now();
        match one(&plan, &tally, &request, &mut kept).await {
            Ok(200) => tally.answered(start.elapsed()),
            Ok(status) => tally.error(&status.to_string(), &format!("request: answered with {status}")),
            Err(error) => tally.error("no answer", &format!("request: {error:#}")),
        }
    }
}

async fn one(plan: &Plan, tally: &Tally, request: &Request, slot: &mut Option<Kept>) -> Result<u16> {
    let mut kept = match slot.take() {
        Some(kept) => kept,
        None => {
            tally.connected();
            Kept { connection: Connection::open(plan.addr).await?, used: 0 }
        }
    };
    kept.used += 1;
    let answer = match kept.connection.exchange(request).await {
        Ok(answer) => answer,
        Err(error) => return Err(error.context(format!("request {} on its connection", kept.used))),
    };
    let closes = answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    if !closes && kept.used < REQUESTS_PER_CONNECTION {
        *slot = Some(kept);
    }
    Ok(answer.status)
}
