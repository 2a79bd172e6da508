//! `penstock demo`: two embedded backends behind the gateway of `examples/demo/`, in one process.
//!
//! The gateway is `penstock run --manifests` over a copy of those files: nothing is special about it.

mod chat;
mod web;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::cli::{Cli, Command};
use crate::{output, run};

/// Ports of the gateway, of its admin server and of the backends: the first stands in `examples/demo/gateway.yaml`,
/// the last two in `backends.yaml`.
const GATEWAY: u16 = 8080;
const ADMIN: u16 = 9090;
const WEB: u16 = 9001;
const CHAT: u16 = 9002;

const MANIFESTS: [(&str, &str); 3] = [
    ("gateway.yaml", include_str!("../../../../../examples/demo/gateway.yaml")),
    ("rules.yaml", include_str!("../../../../../examples/demo/rules.yaml")),
    ("backends.yaml", include_str!("../../../../../examples/demo/backends.yaml")),
];

pub(crate) async fn demo() -> anyhow::Result<ExitCode> {
    for (port, whose) in [(GATEWAY, "the gateway"), (ADMIN, "its admin server")] {
        drop(listen(port, whose).await?);
    }
    let web = listen(WEB, "the web backend").await?;
    let chat = listen(CHAT, "the chat backend").await?;
    // Gone when this function returns.
    let folder = tempfile::Builder::new().prefix("penstock-demo-").tempdir().context("cannot make a folder")?;
    for (name, text) in MANIFESTS {
        let path = folder.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    tokio::spawn(accept(web, web::serve));
    let room = chat::Room::default();
    tokio::spawn(accept(chat, move |io| chat::serve(io, room.clone())));
    let Command::Run(args) = arguments(folder.path())?.command else {
        anyhow::bail!("the demo's own command line is not that of `run`");
    };
    output::print(&introduction(folder.path()))?;
    run::run(*args).await
}

/// The command line of the gateway: reachable from this machine only.
fn arguments(folder: &Path) -> Result<Cli, clap::Error> {
    let admin = format!("127.0.0.1:{ADMIN}");
    let fixed = ["penstock", "run", "--bind-address", "127.0.0.1", "--admin-address", &admin, "--manifests"];
    Cli::try_parse_from(fixed.iter().map(std::ffi::OsStr::new).chain([folder.as_os_str()]))
}

async fn listen(port: u16, whose: &str) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.with_context(|| {
        format!("{whose} cannot listen on {address}: end what uses that port (ss -ltnp 'sport = :{port}' shows it)")
    })
}

/// Serves each connection in a task of its own, for as long as the process runs.
async fn accept<F>(listener: TcpListener, serve: impl Fn(TokioIo<TcpStream>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(TokioIo::new(stream)));
            }
            Err(error) => {
                // Out of files, mostly: it passes.
                tracing::warn!(%error, "a demo backend cannot accept");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

fn introduction(folder: &Path) -> String {
    let folder = folder.display();
    let program = std::env::args().next().unwrap_or_else(|| "penstock".to_owned());
    format!(
        "A gateway on port {GATEWAY}, a web backend on {WEB}, a chat on {CHAT}. Try, in another terminal:

  curl http://demo.localhost:{GATEWAY}/            the web backend shows what it was sent
  curl -i http://demo.localhost:{GATEWAY}/old/x    a redirect
  curl -i http://127.0.0.1:{GATEWAY}/              404: no rule takes this host
  {program} status
  {program} explain --manifests {folder} GET http://demo.localhost:{GATEWAY}/chat

In a browser, in two windows: http://demo.localhost:{GATEWAY}/chat
Then edit the files in {folder}: the chat goes on, new requests follow the change.
Ctrl-C drains: each chat is told to go before its connection is closed.

"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_are_those_of_the_files() {
        let [(_, gateway), (_, rules), (_, backends)] = MANIFESTS;
        assert!(gateway.contains(&format!("port: {GATEWAY}\n")));
        assert!(rules.contains(&format!("http://demo.localhost:{GATEWAY}/")));
        assert!(backends.contains(&format!("port: {WEB}\n")) && backends.contains(&format!("port: {CHAT}\n")));
    }

    #[test]
    fn the_command_line_is_one_of_run() {
        let Command::Run(args) = arguments(Path::new("/some/folder")).unwrap().command else { panic!("not run") };
        assert!(args.standalone());
        assert_eq!(args.admin().port(), ADMIN);
    }
}
