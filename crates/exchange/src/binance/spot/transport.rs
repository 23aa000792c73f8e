//! Sockets: resolve, connect, TLS. The only place of this adapter that opens one.
//!
//! Invariants: a socket is connected within the deadline or not at all; each holds a lease as long as it lives; small
//! packets leave at once (`TCP_NODELAY`); certificates are checked against the built-in roots and nothing falls back to
//! plain text. When names cannot be resolved, the last good address is used (N-01).

use super::config::Endpoint;
use crate::ExchangeError;
use keel_lifecycle::{Lease, LeaseKind, ResourceLedger};
use parking_lot::Mutex;
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

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

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
    last_good: Mutex<Vec<(String, SocketAddr)>>,
}

impl Connector {
    pub(crate) fn new(timeout_ms: u64, tls: Option<Arc<ClientConfig>>, ledger: ResourceLedger) -> Self {
        Self { timeout: Duration::from_millis(timeout_ms), tls, ledger, last_good: Mutex::new(Vec::new()) }
    }

    /// Connects, encrypted where the endpoint says so.
    pub(crate) async fn connect(
        &self,
        endpoint: &Endpoint,
        kind: LeaseKind,
        name: &'static str,
    ) -> Result<Socket, ExchangeError> {
        let lease = self.ledger.lease(kind, OWNER, name);
        let failed = |cause: String| ExchangeError::Connect {
            venue: super::VENUE.into(),
            address: format!("{}:{}", endpoint.host, endpoint.port),
            cause,
        };
        match tokio::time::timeout(self.timeout, self.open(endpoint)).await {
            Ok(Ok(stream)) => Ok(Socket { stream, _lease: lease }),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("no connection within {} ms", self.timeout.as_millis()))),
        }
    }

    async fn open(&self, endpoint: &Endpoint) -> io::Result<Stream> {
        let tcp = self.open_tcp(endpoint).await?;
        tcp.set_nodelay(true)?;
        if !endpoint.is_tls {
            return Ok(Stream::Plain(tcp));
        }
        let name = ServerName::try_from(endpoint.host.clone()).map_err(io::Error::other)?;
        let config = self.tls.clone().ok_or_else(|| io::Error::other("encryption was not set up"))?;
        let tls = TlsConnector::from(config).connect(name, tcp).await?;
        Ok(Stream::Tls(Box::new(tls)))
    }

    async fn open_tcp(&self, endpoint: &Endpoint) -> io::Result<TcpStream> {
        let mut last_error = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.resolve(endpoint).await? {
            match TcpStream::connect(address).await {
                Ok(tcp) => {
                    self.remember(endpoint, address);
                    return Ok(tcp);
                }
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    async fn resolve(&self, endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = endpoint.host.parse() {
            return Ok(vec![SocketAddr::new(ip, endpoint.port)]);
        }
        let known = self.last_good.lock().iter().find(|(host, _)| *host == endpoint.host).map(|(_, address)| *address);
        // Half of the time is left for the connection itself.
        let lookup = tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port));
        let found = match tokio::time::timeout(self.timeout / 2, lookup).await {
            Ok(Ok(addresses)) => addresses.take(ADDRESSES_MAX).collect::<Vec<_>>(),
            Ok(Err(error)) if known.is_none() => return Err(error),
            Err(_) if known.is_none() => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the name was not resolved in time"));
            }
            _ => Vec::new(),
        };
        let fallback = known.map(|address| SocketAddr::new(address.ip(), endpoint.port));
        Ok(if found.is_empty() { fallback.into_iter().collect() } else { found })
    }

    /// Three hosts at most are ever asked for, so the list stays short.
    fn remember(&self, endpoint: &Endpoint, address: SocketAddr) {
        let mut known = self.last_good.lock();
        known.retain(|(host, _)| *host != endpoint.host);
        known.push((endpoint.host.clone(), address));
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
