//! Sockets: resolve, connect, TLS. The only place of this adapter that opens one.
//!
//! Invariants: a socket is connected within the deadline or not at all; each holds a lease as long as it lives; small
//! packets leave at once (`TCP_NODELAY`); certificates are checked against the built-in roots and nothing falls back to
//! plain text. Addresses of a name are tried one after the other, the last good one too (N-01); during a ban none is (V-16).

use super::ban::Ban;
use super::config::Endpoint;
use super::names::Names;
use crate::ExchangeError;
use keel_lifecycle::{Lease, LeaseKind, ResourceLedger};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Who holds the sockets, in the ledger.
pub(crate) const OWNER: &str = "exchange/binance-spot";

/// A connected socket, plain or encrypted, with its lease.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    _lease: Lease,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Makes sockets.
#[derive(Debug)]
pub(crate) struct Connector {
    timeout: Duration,
    /// Absent while no address is encrypted.
    tls: Option<Arc<ClientConfig>>,
    ledger: ResourceLedger,
    names: Names,
    ban: Arc<Ban>,
}

impl Connector {
    pub(crate) fn new(
        timeout_ms: u64,
        tls: Option<Arc<ClientConfig>>,
        ledger: ResourceLedger,
        names: Names,
        ban: Arc<Ban>,
    ) -> Self {
        Self { timeout: Duration::from_millis(timeout_ms), tls, ledger, names, ban }
    }

    /// Connects, encrypted where the endpoint says so.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        kind: LeaseKind,
        name: &'static str,
    ) -> Result<Socket, ExchangeError> {
        self.ban.check()?;
        let lease = self.ledger.lease(kind, OWNER, name);
        let failed = |cause: String| ExchangeError::Connect {
            venue: super::VENUE.into(),
            address: format!("{}:{}", endpoint.host, endpoint.port),
            cause,
        };
        match tokio::time::timeout(self.timeout, self.open(endpoint)).await {
            Ok(Ok(stream)) => Ok(Socket { stream, _lease: lease }),
            Ok(Err(error)) => {
                self.names.failed(&endpoint.host);
                Err(failed(error.to_string()))
            }
            Err(_) => {
                self.names.failed(&endpoint.host);
                Err(failed(format!("no connection within {} ms", self.timeout.as_millis())))
            }
        }
    }

    /// Tries the addresses of a name. Half of the time is for the name, half for the connections; the last address has all
    /// that is left.
    async fn open(&self, endpoint: &Endpoint) -> io::Result<Stream> {
        let half = self.timeout / 2;
        let addresses = self.names.addresses(&endpoint.host, endpoint.port, half).await?;
        let (count, share) = (addresses.len(), half / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX));
        let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for (at, address) in addresses.into_iter().enumerate() {
            let limit = if at + 1 == count { self.timeout } else { share };
            match tokio::time::timeout(limit, self.open_at(endpoint, address)).await {
                Ok(Ok(stream)) => {
                    self.names.worked(&endpoint.host, address.ip());
                    return Ok(stream);
                }
                Ok(Err(error)) => last_error = error,
                Err(_) => last_error = io::Error::new(io::ErrorKind::TimedOut, "an address does not answer"),
            }
        }
        Err(last_error)
    }

    async fn open_at(&self, endpoint: &Endpoint, address: SocketAddr) -> io::Result<Stream> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        if !endpoint.is_tls {
            return Ok(Stream::Plain(tcp));
        }
        let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
        let config = self.tls.clone().ok_or_else(|| io::Error::other("encryption was not set up"))?;
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        Ok(Stream::Tls(Box::new(tls)))
    }
}

/// One TLS configuration for everything: the built-in root certificates and those given, no client certificate.
pub(crate) fn tls_config(extra_roots_pem: Option<&str>) -> Result<Arc<ClientConfig>, ExchangeError> {
    let wrong = |cause: &str| ExchangeError::Credentials { venue: super::VENUE.into(), cause: cause.to_owned() };
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    if let Some(pem) = extra_roots_pem {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|_| wrong("extra_roots_pem is not PEM"))?;
            roots.add(certificate).map_err(|_| wrong("extra_roots_pem holds what is no root certificate"))?;
        }
        if roots.len() == before {
            return Err(wrong("extra_roots_pem holds no certificate"));
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|_| wrong("the TLS library offers no usable protocol version"))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
