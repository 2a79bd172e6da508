//! The way from a gateway to the API server, which can be cut while others have theirs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use penstock_testkit::{ApiServer, Manifests};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(super) struct Link {
    up: watch::Sender<bool>,
    kubeconfig: PathBuf,
    _folder: Manifests,
}

impl Link {
    pub(super) async fn to(server: &ApiServer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        let (up, is_up) = watch::channel(true);
        tokio::spawn(relay(listener, behind, is_up));
        let (folder, known) = (Manifests::new(), fs::read_to_string(server.kubeconfig()).unwrap());
        let kubeconfig =
            folder.write("kubeconfig", &known.replace(&format!(":{}", server.port()), &format!(":{port}")));
        Self { up, kubeconfig, _folder: folder }
    }

    /// For the gateway.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// What is open ends, and what is new is closed at once.
    pub(super) fn cut(&self) {
        self.up.send_replace(false);
    }

    pub(super) fn mend(&self) {
        self.up.send_replace(true);
    }
}

async fn relay(listener: TcpListener, behind: SocketAddr, is_up: watch::Receiver<bool>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut is_up = is_up.clone();
        tokio::spawn(async move {
            if !*is_up.borrow() {
                return;
            }
            let Ok(mut server) = TcpStream::connect(behind).await else { return };
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                _ = is_up.wait_for(|up| !*up) => {}
            }
        });
    }
}
