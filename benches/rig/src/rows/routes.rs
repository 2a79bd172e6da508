//! 5,000 hosts against one host, on two processes of the same proxy in turn, so that both see the same machine.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;

use super::Outcome;
use super::idle::SETTLE;
use crate::backend::SMALL;
use crate::load::http::{self, Requests};
use crate::load::{Load, Sample};
use crate::proxy::{Front, Kind, Running, Site, host};

const HOSTS: usize = 5000;
const CONNECTIONS: usize = 64;
/// Measurements of each process, and how long one takes.
const TURNS: usize = 3;
const TURN: Duration = Duration::from_millis(500);
const WARM_UP: Duration = Duration::from_millis(150);
/// How often a host is added.
const ADDED: usize = 3;

pub(super) async fn run(kind: Kind, site: &Site) -> Result<Outcome> {
    let one = Running::start(kind, site, Front::Plain, 1).await?;
    let many = Running::start(kind, site, Front::Plain, HOSTS).await?;
    let few = Rc::new(vec![http::request(&host(0), SMALL)]);
    let all: Rc<Vec<_>> = Rc::new((0..HOSTS).map(|n| http::request(&host(n), SMALL)).collect());
    let (mut base, mut routed) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        base.push(turn(&one, &few).await?);
        routed.push(turn(&many, &all).await?);
    }
    drop(one);
    let (base, routed) = (middle(base), middle(routed));
    tokio::time::sleep(SETTLE).await;
    let memory = many.tree().memory()? / 1024.0;
    let mut added = Vec::new();
    for n in 0..ADDED {
        added.push(many.add_host(&format!("added{n}.example.com")).await?);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    added.sort_by(f64::total_cmp);
    let more = (routed.cpu_us / base.cpu_us - 1.0) * 100.0;
    Ok(Outcome { values: vec![routed.cpu_us, more, memory, added[ADDED / 2]], sample: Some(routed) })
}

async fn turn(proxy: &Running, requests: &Rc<Vec<Vec<u8>>>) -> Result<Sample> {
    let load = Load::closed(CONNECTIONS, |index| Requests::open(proxy.target(), requests.clone(), index)).await?;
    let sample = load.measure(proxy.tree(), WARM_UP, TURN).await;
    load.end().await;
    sample
}

fn middle(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|a, b| a.cpu_us.total_cmp(&b.cpu_us));
    samples[samples.len() / 2]
}
