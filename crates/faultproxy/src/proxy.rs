//! The listener, and the orders to all connections.

use crate::ProxyError;
use crate::link;
use crate::plan::{Break, Door, Plan, Scope};
use keel_lifecycle::{CancellationToken, GroupReport, Supervisor, TaskGroup, TaskKind};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// Most plans waiting for connections to come; further ones are not taken.
const PLANS_MAX: usize = 1_024;
/// Most connections accepted and then left alone; further ones are closed.
const HOLLOW_MAX: usize = 1_024;
/// How often the door is looked at while nobody listens.
const LOOK: Duration = Duration::from_millis(5);
const BACKLOG: u32 = 1_024;

/// Orders to all connections.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Control {
    /// Silence while it lasts, and on which lines.
    pub(crate) held: Option<(Break, Scope)>,
    /// How many times lines were told to end.
    pub(crate) breaks: u64,
    /// How, the last time, and which.
    pub(crate) last_break: Option<(Break, Scope)>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    door: watch::Sender<Door>,
    control: watch::Sender<Control>,
    /// For connections to come, one each; then `standing`.
    next: Mutex<VecDeque<Plan>>,
    standing: Mutex<Plan>,
    accepted: AtomicU64,
    open: AtomicU64,
    passed: Arc<[AtomicU64; 2]>,
    group: TaskGroup,
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyStats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections open.
    pub open: u64,
    /// Bytes handed to the server.
    pub up_bytes: u64,
    /// Bytes handed to the client.
    pub down_bytes: u64,
}

/// A proxy that runs. Its tasks end with [`Proxy::stop`] or with the runtime.
#[derive(Clone, Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a free port of loopback and passes connections on to `target`.
    ///
    /// # Errors
    /// When there is no runtime or no free port.
    pub fn start(target: SocketAddr) -> Result<Self, ProxyError> {
        tokio::runtime::Handle::try_current().map_err(|_| ProxyError::NoRuntime)?;
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(ProxyError::Bind)?;
        listener.set_nonblocking(true).map_err(ProxyError::Bind)?;
        let addr = listener.local_addr().map_err(ProxyError::Bind)?;
        let listener = TcpListener::from_std(listener).map_err(ProxyError::Bind)?;
        let shared = Arc::new(Shared {
            target,
            door: watch::channel(Door::Open).0,
            control: watch::channel(Control::default()).0,
            next: Mutex::default(),
            standing: Mutex::default(),
            accepted: AtomicU64::new(0),
            open: AtomicU64::new(0),
            passed: Arc::default(),
            group: Supervisor::default().group("fault-proxy"),
        });
        let (group, of_task) = (shared.group.clone(), shared.clone());
        drop(group.spawn_with("accept", TaskKind::Background, move |token| accept(of_task, addr, listener, token)));
        Ok(Self { addr, shared })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://ADDR`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The plan of every connection to come.
    pub fn set_plan(&self, plan: Plan) {
        *self.shared.standing.lock() = plan;
    }

    /// The plans of the next connections, one each, before the standing plan holds again. `false` when too many wait.
    pub fn next_plans(&self, plans: impl IntoIterator<Item = Plan>) -> bool {
        let mut next = self.shared.next.lock();
        next.extend(plans);
        let fits = next.len() <= PLANS_MAX;
        next.truncate(PLANS_MAX);
        fits
    }

    /// What becomes of new connections from now on.
    pub fn set_door(&self, door: Door) {
        self.shared.door.send_replace(door);
    }

    /// Ends every open connection. [`Break::HalfOpen`] and [`Break::Stall`] do not end; use [`Proxy::hold`] for them.
    pub fn break_all(&self, how: Break) {
        self.break_some(how, Scope::All);
    }

    /// Ends the open connections of a scope.
    pub fn break_some(&self, how: Break, scope: Scope) {
        self.shared.control.send_modify(|control| {
            control.breaks += 1;
            control.last_break = Some((how, scope));
        });
    }

    /// Silence on every connection, those to come included, until [`Proxy::release`].
    pub fn hold(&self, how: Break) {
        self.hold_some(how, Scope::All);
    }

    /// Silence on the connections of a scope.
    pub fn hold_some(&self, how: Break, scope: Scope) {
        self.shared.control.send_modify(|control| control.held = Some((how, scope)));
    }

    /// Bytes pass again. What was lost meanwhile stays lost.
    pub fn release(&self) {
        self.shared.control.send_modify(|control| control.held = None);
    }

    /// What has passed so far.
    #[must_use]
    pub fn stats(&self) -> ProxyStats {
        let of = |counter: Option<&AtomicU64>| counter.map_or(0, |it| it.load(Ordering::Relaxed));
        ProxyStats {
            accepted: of(Some(&self.shared.accepted)),
            open: of(Some(&self.shared.open)),
            up_bytes: of(self.shared.passed.first()),
            down_bytes: of(self.shared.passed.last()),
        }
    }

    /// Ends everything, at most within `limit`.
    pub async fn stop(&self, limit: Duration) -> GroupReport {
        self.shared.group.stop(limit).await
    }
}

async fn accept(shared: Arc<Shared>, addr: SocketAddr, listener: TcpListener, token: CancellationToken) {
    let mut listener = Some(listener);
    // Connections that only fill the queue, so that no other gets in.
    let mut fillers: Vec<TcpStream> = Vec::new();
    let mut hollow: Vec<TcpStream> = Vec::new();
    let mut door = shared.door.subscribe();
    loop {
        let now = *door.borrow_and_update();
        match now {
            Door::Refuse => listener = None,
            Door::Ignore if fillers.is_empty() => {
                drop(listener.take());
                listener = listen(addr, 1).ok();
                fillers = fill(addr).await;
            }
            Door::Ignore => {}
            _ if listener.is_none() || !fillers.is_empty() => {
                fillers.clear();
                drop(listener.take());
                listener = listen(addr, BACKLOG).ok();
            }
            _ => {}
        }
        if !matches!(now, Door::Hollow) {
            hollow.clear();
        }
        let accepted = async {
            match &listener {
                Some(listener) if now != Door::Ignore => listener.accept().await.ok(),
                Some(_) => std::future::pending().await,
                None => {
                    tokio::time::sleep(LOOK).await;
                    None
                }
            }
        };
        let stream = tokio::select! {
            accepted = accepted => match accepted { Some((stream, _)) => stream, None => continue },
            _ = door.changed() => continue,
            () = token.cancelled() => return,
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        match now {
            Door::Reset => drop(stream.set_zero_linger()),
            Door::Hollow if hollow.len() < HOLLOW_MAX => hollow.push(stream),
            Door::Open => serve(&shared, stream),
            _ => {}
        }
    }
}

fn listen(addr: SocketAddr, backlog: u32) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(backlog)
}

/// Connects until no answer comes any more.
async fn fill(addr: SocketAddr) -> Vec<TcpStream> {
    let mut fillers = Vec::new();
    for _ in 0..16 {
        match tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => fillers.push(stream),
            Ok(Err(_)) | Err(_) => break,
        }
    }
    fillers
}

fn serve(shared: &Arc<Shared>, client: TcpStream) {
    let plan = shared.next.lock().pop_front().unwrap_or_else(|| *shared.standing.lock());
    let of_task = shared.clone();
    let number = shared.accepted.load(Ordering::Relaxed);
    let carried = shared.group.spawn_with("connection", TaskKind::Background, move |token| async move {
        of_task.open.fetch_add(1, Ordering::Relaxed);
        one(&of_task, client, plan, number, token).await;
        of_task.open.fetch_sub(1, Ordering::Relaxed);
    });
    drop(carried);
}

async fn one(shared: &Shared, client: TcpStream, plan: Plan, number: u64, token: CancellationToken) {
    if plan.is_hollow {
        token.cancelled().await;
        return;
    }
    let server = match TcpStream::connect(shared.target).await {
        Ok(server) => server,
        Err(error) => {
            tracing::debug!(target = %shared.target, %error, "the server behind the proxy cannot be reached");
            return;
        }
    };
    for stream in [&client, &server] {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    }
    link::carry(client, server, plan, shared.control.subscribe(), shared.passed.clone(), number, token).await;
}
