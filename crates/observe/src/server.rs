//! The server: a listener on loopback, connections with bounds, one service for all routes.
//!
//! | bound | beyond it |
//! |---|---|
//! | connections at once | closed at once |
//! | time until the headers are there | closed |
//! | size of the headers | 431 |
//! | size of a body | 413 |
//! | time of a request, live events aside | 503 |
//! | listeners of live events at once | 429 |

use crate::access::Access;
use crate::answer::{self, Asked};
use crate::guard;
use crate::routes::{Method, ROUTES};
use crate::{Endpoint, ObserveError, Sight};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use keel_control::Operator;
use keel_lifecycle::{Lease, LeaseKind, ResourceLedger};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Pause after a failed accept, such as with no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to end after the stop.
const GOODBYE: Duration = Duration::from_millis(500);

/// Bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// Listeners of live events at once.
    pub listeners_max: usize,
    /// Size of a body; unit: bytes.
    pub body_bytes_max: usize,
    /// Size of the headers; unit: bytes.
    pub header_bytes_max: usize,
    /// Time until the headers are there.
    pub header_timeout: Duration,
    /// Time of a request.
    pub request_timeout: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 64,
            listeners_max: 16,
            body_bytes_max: 64 << 10,
            header_bytes_max: 16 << 10,
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// What all requests share.
pub struct Observed {
    pub(crate) sight: Arc<dyn Sight>,
    pub(crate) operator: Arc<dyn Operator>,
    pub(crate) access: Access,
    pub(crate) hosts: Vec<String>,
    pub(crate) page: &'static str,
    pub(crate) policy: HeaderValue,
    pub(crate) stop: CancellationToken,
    limits: ServerLimits,
    seats: Arc<Semaphore>,
}

impl std::fmt::Debug for Observed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observed").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Observed {
    pub(crate) fn take_seat(&self) -> Option<OwnedSemaphorePermit> {
        self.seats.clone().try_acquire_owned().ok()
    }
}

/// A bound server.
#[derive(Debug)]
pub struct ObserveServer {
    listener: std::net::TcpListener,
    address: SocketAddr,
    limits: ServerLimits,
    _lease: Lease,
}

impl ObserveServer {
    /// Binds a loopback address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is none of loopback, or cannot be had.
    pub fn bind(address: SocketAddr, ledger: &ResourceLedger, limits: ServerLimits) -> Result<Self, ObserveError> {
        if !address.ip().is_loopback() {
            return Err(ObserveError::NotLoopback(address));
        }
        let failed = |source| ObserveError::Bind { address, source };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let lease = ledger.lease(LeaseKind::Listener, "observe", "observability server");
        Ok(Self { listener, address: bound, limits, _lease: lease })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is cancelled, then lets requests under way end for a moment.
    ///
    /// # Errors
    /// When the socket cannot be handed to the runtime.
    pub async fn run(
        self,
        sight: Arc<dyn Sight>,
        operator: Arc<dyn Operator>,
        access: Access,
        page: &'static str,
        stop: CancellationToken,
    ) -> Result<(), ObserveError> {
        let address = self.address;
        let listener = TcpListener::from_std(self.listener).map_err(|source| ObserveError::Bind { address, source })?;
        let policy =
            HeaderValue::from_str(&guard::policy(page)).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        let observed = Arc::new(Observed {
            sight,
            operator,
            access,
            hosts: guard::hosts(address.port()),
            page,
            policy,
            stop: stop.clone(),
            limits: self.limits,
            seats: Arc::new(Semaphore::new(self.limits.listeners_max)),
        });
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(()) = open.next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) if open.len() < self.limits.connections_max => {
                        open.push(serve(stream, from, observed.clone()));
                    }
                    Ok(_) => tracing::warn!("the observability server has no room for another connection"),
                    Err(error) => {
                        tracing::warn!(%error, "the observability server could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        let all = async { while open.next().await.is_some() {} };
        // Whoever has not ended by then is cut off with the sockets.
        drop(tokio::time::timeout(GOODBYE, all).await);
        Ok(())
    }
}

/// One connection.
async fn serve(stream: TcpStream, from: SocketAddr, observed: Arc<Observed>) {
    let limits = observed.limits;
    let stop = observed.stop.clone();
    let service = Router::new().fallback(any).with_state(PerConnection { observed, from });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(limits.header_bytes_max);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %from, "a connection of the observability server ended early");
    }
}

#[derive(Clone, Debug)]
struct PerConnection {
    observed: Arc<Observed>,
    from: SocketAddr,
}

/// Every request: found in the table, guarded, answered within its time.
async fn any(State(state): State<PerConnection>, request: Request) -> Response<Body> {
    let observed = state.observed.clone();
    let limit = observed.limits.request_timeout;
    let answered = tokio::time::timeout(limit, handle(state, request)).await;
    let mut response = answered.unwrap_or_else(|_| {
        answer::refusal(StatusCode::SERVICE_UNAVAILABLE, "no answer in time; what was asked for may still happen")
    });
    guard::harden(&observed, &mut response);
    response
}

async fn handle(state: PerConnection, request: Request) -> Response<Body> {
    let PerConnection { observed, from } = state;
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let method = match parts.method {
        axum::http::Method::GET => Some(Method::Get),
        axum::http::Method::POST => Some(Method::Post),
        _ => None,
    };
    let Some(route) = ROUTES.iter().find(|route| route.path == path && Some(route.method) == method) else {
        let known = ROUTES.iter().find(|route| route.path == path).map(|route| route.method);
        return answer::unknown(&parts.method, path, known);
    };
    if let Err(refused) = guard::check(&observed, route, &parts.headers) {
        return *refused;
    }
    let body = if matches!(route.endpoint, Endpoint::Act(_)) {
        match to_bytes(body, observed.limits.body_bytes_max).await {
            Ok(body) => body.to_vec(),
            Err(_) => {
                let why = format!("the body is longer than {} bytes, or was cut off", observed.limits.body_bytes_max);
                return answer::refusal(StatusCode::PAYLOAD_TOO_LARGE, &why);
            }
        }
    } else {
        Vec::new()
    };
    let query = parts.uri.query().unwrap_or_default().to_owned();
    answer::answer(&observed, Asked { route, query, body, from }).await
}
