//! One connection: two directions, each a reader and a writer with a bounded queue of timed chunks between them.

use crate::plan::{Break, Lane, Plan};
use crate::proxy::Control;
use keel_lifecycle::{CancellationToken, Clock};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

/// Chunks on the way per direction.
pub const CHUNKS_MAX: usize = 256;
/// So many of the first bytes tell what a connection is.
const BEGINNING_BYTES: usize = 64;
/// The largest chunk.
const CHUNK_BYTES: usize = 16 * 1024;

/// A chunk that may leave at a time of the monotonic clock.
struct Chunk {
    due_ns: u64,
    bytes: Vec<u8>,
}

/// A small generator for jitter (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        if bound == 0 { 0 } else { (z ^ (z >> 31)) % bound }
    }
}

/// What a connection shares with its two directions.
struct Link {
    clock: Clock,
    control: watch::Receiver<Control>,
    /// How it broke, once it has.
    broken: watch::Sender<Option<Break>>,
    /// The first bytes from the client.
    beginning: OnceLock<Vec<u8>>,
}

/// Carries a connection to its end.
pub(crate) async fn carry(
    client: TcpStream,
    server: TcpStream,
    plan: Plan,
    control: watch::Receiver<Control>,
    passed: Arc<[AtomicU64; 2]>,
    seed: u64,
    token: CancellationToken,
) {
    let (broken, mut is_broken) = watch::channel(None);
    let link = Link { clock: Clock::system(), control, broken, beginning: OnceLock::new() };
    let up = direction(&link, plan.up, &client, &server, &passed, 0, seed);
    let down = direction(&link, plan.down, &server, &client, &passed, 1, seed ^ 1);
    let cut = async {
        loop {
            let how = *is_broken.borrow_and_update();
            if let Some(Break::Close | Break::Reset) = how {
                return how;
            }
            if is_broken.changed().await.is_err() {
                return None;
            }
        }
    };
    let is_reset = tokio::select! {
        ((), ()) = async { tokio::join!(up, down) } => false,
        how = cut => how == Some(Break::Reset),
        how = ordered(&link) => how == Break::Reset,
        () = token.cancelled() => false,
    };
    for stream in [client, server].iter().filter(|_| is_reset) {
        // A zero linger turns the close into a reset.
        if let Err(error) = stream.set_zero_linger() {
            tracing::debug!(%error, "a connection could not be reset");
        }
    }
}

/// Waits until all connections are told to end.
async fn ordered(link: &Link) -> Break {
    let mut control = link.control.clone();
    let began = control.borrow().breaks;
    loop {
        let now = *control.borrow_and_update();
        if now.breaks != began
            && let Some((how @ (Break::Close | Break::Reset), scope)) = now.last_break
            && scope.covers(link.beginning())
        {
            return how;
        }
        if control.changed().await.is_err() {
            return Break::Close;
        }
    }
}

async fn direction(
    link: &Link,
    lane: Lane,
    from: &TcpStream,
    to: &TcpStream,
    passed: &[AtomicU64; 2],
    at: usize,
    seed: u64,
) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let count = passed.get(at);
    tokio::join!(read(link, lane, from, sender, at == 0, seed), write(link, lane, to, receiver, count));
}

async fn read(link: &Link, lane: Lane, from: &TcpStream, sender: mpsc::Sender<Chunk>, lane_is_up: bool, seed: u64) {
    let mut dice = Dice(seed);
    let mut buffer = vec![0; CHUNK_BYTES];
    let (mut taken, mut last_due_ns) = (0u64, 0u64);
    let mut control = link.control.clone();
    let mut broken = link.broken.subscribe();
    loop {
        let silence = link.silence(&control, &broken);
        if silence == Some(Break::Stall) {
            tokio::select! {
                changed = control.changed() => if changed.is_err() { return },
                changed = broken.changed() => if changed.is_err() { return },
            }
            continue;
        }
        let room = lane.break_after.map_or(u64::MAX, |(after, _)| after.saturating_sub(taken).max(1));
        let chunk_max = lane.chunk_bytes_max.map_or(CHUNK_BYTES, |max| max.max(1) as usize).min(CHUNK_BYTES);
        let most = chunk_max.min(usize::try_from(room).unwrap_or(usize::MAX));
        let Some(space) = buffer.get_mut(..most) else { return };
        let count = tokio::select! {
            read = read_some(from, space) => match read { Ok(0) | Err(_) => return, Ok(count) => count },
            changed = control.changed() => { if changed.is_err() { return } continue }
            changed = broken.changed() => { if changed.is_err() { return } continue }
        };
        if lane_is_up {
            link.beginning.get_or_init(|| buffer.get(..count.min(BEGINNING_BYTES)).unwrap_or_default().to_vec());
        }
        // Once more: it may only now be known which connection this is.
        if silence.is_some() || link.silence(&control, &broken) == Some(Break::HalfOpen) {
            continue;
        }
        if let Some((after, how)) = lane.break_after
            && taken >= after
        {
            link.broken.send_replace(Some(how));
            continue;
        }
        taken += count as u64;
        let extra_ns = dice.below(u64::try_from(lane.jitter.as_nanos()).unwrap_or(u64::MAX));
        let late_ns = u64::try_from(lane.latency.as_nanos()).unwrap_or(u64::MAX).saturating_add(extra_ns);
        last_due_ns = last_due_ns.max(link.clock.mono_ns().saturating_add(late_ns));
        let bytes = buffer.get(..count).unwrap_or_default().to_vec();
        if sender.send(Chunk { due_ns: last_due_ns, bytes }).await.is_err() {
            return;
        }
        // So many bytes and not one more, even if no more come.
        if let Some((after, how)) = lane.break_after
            && taken >= after
        {
            // What passed before is delivered first.
            while sender.capacity() < CHUNKS_MAX {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            link.broken.send_replace(Some(how));
        }
    }
}

async fn write(link: &Link, lane: Lane, to: &TcpStream, mut chunks: mpsc::Receiver<Chunk>, count: Option<&AtomicU64>) {
    let (control, broken) = (link.control.clone(), link.broken.subscribe());
    while let Some(chunk) = chunks.recv().await {
        let wait_ns = chunk.due_ns.saturating_sub(link.clock.mono_ns());
        if wait_ns > 0 {
            tokio::time::sleep(Duration::from_nanos(wait_ns)).await;
        }
        // What is under way when the line goes dead is lost with it.
        if link.silence(&control, &broken).is_some() {
            continue;
        }
        if write_all(to, &chunk.bytes).await.is_err() {
            return;
        }
        if let Some(count) = count {
            count.fetch_add(chunk.bytes.len() as u64, Ordering::Relaxed);
        }
        if let Some(rate) = lane.bytes_per_s {
            let seconds = chunk.bytes.len() as f64 / f64::from(rate.max(1));
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
        }
    }
    // The other end learns that no more comes.
    if let Ok(copy) = to.as_fd().try_clone_to_owned() {
        drop(std::net::TcpStream::from(copy).shutdown(Shutdown::Write));
    }
}

/// Reads without owning a half of the stream: dropping a half would say goodbye before a reset.
async fn read_some(from: &TcpStream, space: &mut [u8]) -> std::io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(space) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Link {
    fn beginning(&self) -> &[u8] {
        self.beginning.get().map_or(&[], Vec::as_slice)
    }

    /// Is the line silent, by its own break or by an order to all?
    fn silence(&self, control: &watch::Receiver<Control>, broken: &watch::Receiver<Option<Break>>) -> Option<Break> {
        let own = *broken.borrow();
        let held = control.borrow().held.filter(|(_, scope)| scope.covers(self.beginning())).map(|(how, _)| how);
        own.or(held).filter(|how| matches!(how, Break::HalfOpen | Break::Stall))
    }
}
