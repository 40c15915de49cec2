//! Encrypted connections, by rustls.
//!
//! What must stay true: a certificate that was renewed is used without a restart, and one that
//! cannot be used leaves the one before in its place; without the feature `tls` asking for it stops
//! the start.

#[cfg(feature = "tls")]
pub(crate) use with::Tls;
#[cfg(not(feature = "tls"))]
pub(crate) use without::Tls;

#[cfg(feature = "tls")]
mod with {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use parking_lot::{Mutex, RwLock};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use tokio_rustls::server::TlsStream;

    use crate::config::TlsFiles;
    use crate::listen::ServerError;

    /// How often the files are looked at.
    const LOOK_EVERY: Duration = Duration::from_secs(10);

    /// A certificate with its key, as long as it is the newest.
    #[derive(Debug)]
    pub(crate) struct Tls {
        files: TlsFiles,
        config: RwLock<Arc<ServerConfig>>,
        /// Of the files as they were before they were read last.
        seen: Mutex<Stamps>,
    }

    /// When each file was changed.
    type Stamps = [Option<SystemTime>; 2];

    impl Tls {
        /// Reads the files.
        pub(crate) fn open(files: TlsFiles) -> Result<Self, ServerError> {
            let seen = Mutex::new(stamps(&files));
            let config = RwLock::new(read(&files)?);
            Ok(Self {
                files,
                config,
                seen,
            })
        }

        /// Agrees with the other side of `stream` on how to encrypt.
        pub(crate) async fn accept(
            &self,
            stream: TcpStream,
        ) -> std::io::Result<TlsStream<TcpStream>> {
            let config = self.config.read().clone();
            TlsAcceptor::from(config).accept(stream).await
        }

        /// Reads the files again whenever they change, for ever.
        pub(crate) async fn watch(self: Arc<Self>) {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                let tls = self.clone();
                let look = move || {
                    let now = stamps(&tls.files);
                    let before = std::mem::replace(&mut *tls.seen.lock(), now);
                    if now != before {
                        match read(&tls.files) {
                            Ok(config) => {
                                *tls.config.write() = config;
                                tracing::info!("the certificate was read again");
                            }
                            Err(error) => {
                                tracing::error!(%error, "the certificate stays as it was");
                            }
                        }
                    }
                };
                // It fails only where the runtime ends, and then nobody connects any more.
                let _ = tokio::task::spawn_blocking(look).await;
            }
        }
    }

    fn stamps(files: &TlsFiles) -> Stamps {
        [&files.certificate, &files.key].map(|path| std::fs::metadata(path).ok()?.modified().ok())
    }

    fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, ServerError> {
        let failed = |path: &Path, why: &dyn std::fmt::Display| {
            let path = path.display();
            ServerError::Tls(format!("{path} cannot be used for encryption: {why}"))
        };
        let chain = CertificateDer::pem_file_iter(&files.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| failed(&files.certificate, &error))?;
        if chain.is_empty() {
            let none = "it holds no certificate in PEM";
            return Err(failed(&files.certificate, &none));
        }
        let key =
            PrivateKeyDer::from_pem_file(&files.key).map_err(|error| failed(&files.key, &error))?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| failed(&files.certificate, &error))?;
        Ok(Arc::new(config))
    }
}

#[cfg(not(feature = "tls"))]
mod without {
    use std::sync::Arc;

    use tokio::net::TcpStream;

    use crate::config::TlsFiles;
    use crate::listen::ServerError;

    /// There is none.
    #[derive(Debug)]
    pub(crate) enum Tls {}

    #[expect(
        clippy::unused_async,
        reason = "whoever calls waits for the one with TLS"
    )]
    impl Tls {
        /// Refuses.
        pub(crate) fn open(_: TlsFiles) -> Result<Self, ServerError> {
            Err(ServerError::Tls(
                "this program was built without TLS; build it with the feature `tls`".to_owned(),
            ))
        }

        pub(crate) async fn accept(&self, _: TcpStream) -> std::io::Result<TcpStream> {
            match *self {}
        }

        pub(crate) async fn watch(self: Arc<Self>) {
            match *self {}
        }
    }
}
