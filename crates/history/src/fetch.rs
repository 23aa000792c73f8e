//! One request over HTTP, without any retry: the session that the data manager owns and closes.
//!
//! [`Fetch`] is what the rest of the crate knows; [`HttpFetch`] is the one over reqwest. Invariants: one client, leased; a
//! request ends when its server is silent for the stall limit; after `close` nothing is asked, and the idle connections are gone.

use crate::HistoryError;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use keel_lifecycle::{Lease, LeaseKind, ResourceLedger};
use parking_lot::Mutex;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, RANGE, RETRY_AFTER};
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to stand.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Part of a resource that is still wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// From this byte on.
    pub from: u64,
    /// Only if the resource is still this one; else the whole of it comes.
    pub etag: String,
}

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// Bytes that the body has.
    pub length: Option<u64>,
    /// First byte and whole length, of a partial answer.
    pub range: Option<(u64, u64)>,
    /// Strong entity tag.
    pub etag: Option<String>,
    /// Pause that the server asks for; unit: seconds.
    pub retry_after_s: Option<u64>,
    /// Request weight of the current minute by the venue's count.
    pub used_weight_1m: Option<u64>,
}

/// An answer whose body is still to come.
pub struct Answer {
    /// Its head.
    pub head: Head,
    /// Its body; an error ends it.
    pub body: BoxStream<'static, Result<Bytes, String>>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("head", &self.head).finish_non_exhaustive()
    }
}

/// Something that fetches over HTTP.
#[async_trait]
pub trait Fetch: Send + Sync + std::fmt::Debug {
    /// One `GET`. An error is a connection that failed, in words; every status is an answer.
    async fn get(&self, url: &str, resume: Option<&Resume>) -> Result<Answer, String>;

    /// Lets go of everything. Called at most once by the data manager; an error is told, and changes nothing else.
    async fn close(&self) -> Result<(), String>;
}

/// The session over reqwest.
#[derive(Debug)]
pub struct HttpFetch {
    inner: Mutex<Option<(reqwest::Client, Lease)>>,
}

impl HttpFetch {
    /// A session that gives up on a server which is silent for `stall`. Proxies of the environment are used, but not for
    /// loopback (`is_loopback`).
    ///
    /// # Errors
    /// When the TLS library or the client cannot be set up.
    pub fn new(ledger: &ResourceLedger, stall: Duration, is_loopback: bool) -> Result<Arc<Self>, HistoryError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| HistoryError::Client(error.to_string()))?;
        let roots: rustls::RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("keel/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(stall)
            .redirect(reqwest::redirect::Policy::limited(3))
            .http1_only();
        if is_loopback {
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| HistoryError::Client(chain(&error)))?;
        let lease = ledger.lease_with_close(LeaseKind::HttpClient, "history", "archives and REST");
        Ok(Arc::new(Self { inner: Mutex::new(Some((client, lease))) }))
    }
}

impl Drop for HttpFetch {
    /// Closing is optional: what was not closed is closed here (S4-031).
    fn drop(&mut self) {
        if let Some((client, lease)) = self.inner.get_mut().take() {
            drop(client);
            lease.close();
        }
    }
}

#[async_trait]
impl Fetch for HttpFetch {
    async fn get(&self, url: &str, resume: Option<&Resume>) -> Result<Answer, String> {
        let client = self.inner.lock().as_ref().map(|(client, _)| client.clone());
        let client = client.ok_or_else(|| "the session is closed".to_owned())?;
        let mut request = client.get(url);
        if let Some(resume) = resume {
            request = request.header(RANGE, format!("bytes={}-", resume.from)).header(IF_RANGE, &resume.etag);
        }
        drop(client);
        let response = request.send().await.map_err(|error| chain(&error))?;
        let head = head(response.status().as_u16(), response.headers());
        let body = response.bytes_stream().map(|chunk| chunk.map_err(|error| chain(&error))).boxed();
        Ok(Answer { head, body })
    }

    async fn close(&self) -> Result<(), String> {
        let taken = self.inner.lock().take();
        if let Some((client, lease)) = taken {
            drop(client);
            lease.close();
        }
        Ok(())
    }
}

fn head(status: u16, headers: &HeaderMap) -> Head {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |name: &str| text(name).and_then(|text| text.parse::<u64>().ok());
    let range = text(CONTENT_RANGE.as_str()).and_then(|text| {
        let (span, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
        Some((span.split_once('-')?.0.parse().ok()?, whole.parse().ok()?))
    });
    Head {
        status,
        length: number(CONTENT_LENGTH.as_str()),
        range,
        // A weak tag says nothing about bytes.
        etag: text(ETAG.as_str()).filter(|tag| tag.starts_with('"')).map(str::to_owned),
        retry_after_s: number(RETRY_AFTER.as_str()),
        used_weight_1m: number("x-mbx-used-weight-1m"),
    }
}

/// The causes of an error; reqwest's own text says little, and the address is told beside it.
fn chain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}
