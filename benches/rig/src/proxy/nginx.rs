//! nginx with a server block for each host, the way its ingress controllers configure it. Reloaded by SIGHUP.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use rustix::process::Signal;

use super::{Front, Setup, host};
use crate::sys::Tree;

pub(super) fn prepare(setup: &Setup<'_>) -> Result<Command> {
    let Setup { site, folder, port, front, hosts } = setup;
    let (backend, folder_name) = (site.backend.address, folder.display());
    // 1.3 is not among the defaults of old versions.
    let (ssl, tls) = match front {
        Front::Plain => ("", String::new()),
        Front::Tls => {
            let (chain, key) = (site.certificate.chain(), site.certificate.key());
            let (chain, key) = (chain.display(), key.display());
            (
                " ssl http2",
                format!("ssl_certificate {chain};\n  ssl_certificate_key {key};\n  ssl_protocols TLSv1.2 TLSv1.3;"),
            )
        }
    };
    // Only root may say which user the worker is.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let servers: String = (0..*hosts).map(|n| server(*port, ssl, &host(n))).collect();
    fs::create_dir(folder.join("added"))?;
    let file = folder.join("nginx.conf");
    // Bodies may not go to disk: that would measure something else.
    let text = format!(
        "{user}
daemon off;
worker_processes 1;
pid {folder_name}/pid;
error_log {folder_name}/error.log;
events {{ worker_connections 9000; }}
http {{
  access_log off;
  client_body_temp_path {folder_name}/body;
  proxy_temp_path {folder_name}/proxy;
  proxy_max_temp_file_size 0;
  keepalive_requests 1000000000;
  keepalive_timeout 75s;
  tcp_nodelay on;
  {tls}
  server_names_hash_max_size 65536;
  server_names_hash_bucket_size 128;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream b {{ server {backend}; keepalive 512; keepalive_requests 1000000000; }}
  proxy_http_version 1.1;
  proxy_read_timeout 1h;
  proxy_send_timeout 1h;
  proxy_set_header Host $http_host;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $connection_upgrade;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
  server {{ listen 127.0.0.1:{port}{ssl} default_server; return 404; }}
{servers}
  include {folder_name}/added/*.conf;
}}
"
    );
    fs::write(&file, text)?;
    let mut command = Command::new("nginx");
    command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(file);
    Ok(command)
}

pub(super) fn add_host(folder: &Path, name: &str, port: u16, tree: Tree) -> Result<()> {
    fs::write(folder.join("added").join(format!("{name}.conf")), server(port, "", name))?;
    tree.signal(Signal::HUP);
    Ok(())
}

fn server(port: u16, ssl: &str, name: &str) -> String {
    format!("server {{ listen 127.0.0.1:{port}{ssl}; server_name {name}; location / {{ proxy_pass http://b; }} }}\n")
}
