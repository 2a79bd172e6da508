//! HAProxy with a map from hosts to backends, the way its ingress controllers configure it. Reloaded by its master process.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use rustix::process::Signal;

use super::{Front, Setup, host};
use crate::sys::Tree;

pub(super) fn prepare(setup: &Setup<'_>) -> Result<Command> {
    let Setup { site, folder, port, front, hosts } = setup;
    let (backend, folder_name) = (site.backend.address, folder.display());
    let (tls, proto) = match front {
        Front::Plain => (String::new(), "http"),
        Front::Tls => (format!(" ssl crt {} alpn h2,http/1.1", site.certificate.both().display()), "https"),
    };
    let map: String = (0..*hosts).map(|n| format!("{} b\n", host(n))).collect();
    fs::write(folder.join("hosts.map"), map)?;
    let file = folder.join("haproxy.cfg");
    // A connection that ends without a request is not answered, as elsewhere, where that is no option.
    // The listening socket is handed over at a reload: without `expose-fd` more would be lost.
    let text = format!(
        "global
  nbthread 1
  maxconn 9000
  stats socket {folder_name}/socket mode 600 level admin expose-fd listeners
defaults
  mode http
  option forwardfor
  option http-ignore-probes
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
frontend f
  bind 127.0.0.1:{port}{tls}
  http-request set-header X-Forwarded-Proto {proto}
  use_backend %[req.hdr(host),field(1,:),lower,map_str({folder_name}/hosts.map)]
backend b
  server s {backend}
"
    );
    fs::write(&file, text)?;
    let mut command = Command::new("haproxy");
    command.arg("-W").arg("-f").arg(file);
    Ok(command)
}

pub(super) fn add_host(folder: &Path, name: &str, tree: Tree) -> Result<()> {
    writeln!(OpenOptions::new().append(true).open(folder.join("hosts.map"))?, "{name} b")?;
    tree.signal(Signal::USR2);
    Ok(())
}
