//! Where the load connects to, and its connections: plain, or TLS 1.3 without resumption. The client's work is kept small, because it
//! shares a core with the backend: it compares the certificate with the one that was made, and leaves signatures unchecked.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use anyhow::{Context as _, ensure};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A proxy's listener.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// For a listener with TLS, with the name that is asked for.
    pub(crate) tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    pub(crate) async fn connect(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Stream::Plain(stream),
            Some((connector, name)) => Stream::Tls(Box::new(connector.connect(name.clone(), stream).await?)),
        })
    }
}

/// A connection to a proxy.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Whether the other side has closed it, or said something nobody asked for, as far as we were told.
    pub(crate) fn closed(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let read = std::future::poll_fn(|context| Pin::new(&mut *self).poll_read(context, &mut buffer));
        // A task that asks many connections in a row would else be told to wait.
        let read = pin!(tokio::task::unconstrained(read));
        read.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Says that nothing more comes, and waits until the other side has said so too: then it has checked the end of the handshake.
    pub(crate) async fn end(mut self) -> io::Result<()> {
        self.shutdown().await?;
        match self.read(&mut [0]).await {
            Ok(0) => Ok(()),
            // Closed without the alert that says so (RFC 8446 section 6.1): not what is measured.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
            Ok(_) => Err(ErrorKind::InvalidData.into()),
            Err(error) => Err(error),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, to),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, to),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, from),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, from),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// A certificate of a P-256 key that every proxy of a run shows, as files, and what connects to those that show it.
pub(crate) struct Certificate {
    folder: PathBuf,
    connector: TlsConnector,
}

impl Certificate {
    /// Has openssl make one for these names.
    pub(crate) fn make(names: &str) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("penstock-rig-{}-tls", std::process::id()));
        fs::create_dir_all(&folder)?;
        let (chain, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"])
            .args(["-subj", "/CN=rig", "-addext", &format!("subjectAltName=DNS:{names}")])
            .arg("-out")
            .arg(&chain)
            .arg("-keyout")
            .arg(&key)
            .output()
            .context("openssl cannot be started")?;
        ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        // HAProxy wants both in one file.
        fs::write(folder.join("both.pem"), [fs::read(&chain)?, fs::read(&key)?].concat())?;
        let shown = CertificateDer::from_pem_file(&chain)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pinned = Arc::new(Pinned { shown, provider: provider.clone() });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(pinned)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { folder, connector: TlsConnector::from(Arc::new(config)) })
    }

    /// The chain, in PEM.
    pub(crate) fn chain(&self) -> PathBuf {
        self.folder.join("tls.crt")
    }

    /// The key, in PEM.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("tls.key")
    }

    /// The chain, then the key.
    pub(crate) fn both(&self) -> PathBuf {
        self.folder.join("both.pem")
    }

    /// A target that shows it.
    pub(crate) fn target(&self, address: SocketAddr, name: &str) -> anyhow::Result<Target> {
        Ok(Target { address, tls: Some((self.connector.clone(), ServerName::try_from(name.to_owned())?)) })
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // Best effort: nothing depends on what may be left.
        let _ = fs::remove_dir_all(&self.folder as &Path);
    }
}

/// Accepts that one certificate.
#[derive(Debug)]
struct Pinned {
    shown: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.shown {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("the proxy shows another certificate".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
