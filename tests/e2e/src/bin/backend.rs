//! The backend as a process in a Pod: `POD_NAME` names it; `PORT`, `LINGER` and `PATIENCE` (seconds) have defaults.

use std::net::Ipv6Addr;
use std::time::Duration;

use penstock_e2e::Backend;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let name = std::env::var("POD_NAME").unwrap_or_else(|_| "backend".to_owned());
    let backend = Backend::new(&name);
    let mut stop = signal(SignalKind::terminate())?;
    let listener =
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, u16::try_from(number("PORT", 8080)).unwrap_or(8080))).await?;
    let serving = tokio::spawn(backend.clone().serve(listener));
    tokio::select! {
        _ = stop.recv() => backend.drain(seconds("LINGER", 5), seconds("PATIENCE", 60)).await,
        ended = serving => ended??,
    }
    Ok(())
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn seconds(name: &str, default: u64) -> Duration {
    Duration::from_secs(number(name, default))
}
