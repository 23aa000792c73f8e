//! Host names to addresses, with the last good address kept for when names cannot be resolved or lead nowhere (N-01).
//!
//! Invariants: a look-up ends within its limit; an address is good once a connection to it was set up in full, encryption
//! included; while look-ups fail the good address is used and the resolver is asked again after pauses that double, with
//! jitter. Bounds: four addresses of one name; three hosts are ever asked for, so the list of known ones stays short.

use super::session::backoff::Backoff;
use async_trait::async_trait;
use keel_lifecycle::Clock;
use parking_lot::Mutex;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// First and longest pause before the resolver is asked again after it failed; unit: milliseconds.
const PAUSE_MS: (u64, u64) = (1_000, 30_000);

/// Turns a host name into addresses.
#[async_trait]
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// The addresses of a host; none, or an error, when it has none.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The resolver of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// What is known of one host.
#[derive(Debug)]
struct Known {
    host: String,
    good: IpAddr,
    backoff: Backoff,
    /// The resolver is not asked before; unit: nanoseconds, monotonic.
    ask_mono_ns: u64,
}

/// Names and their last good addresses.
#[derive(Debug)]
pub(crate) struct Names {
    resolver: Arc<dyn Resolver>,
    clock: Clock,
    known: Mutex<Vec<Known>>,
}

impl Names {
    pub(crate) fn new(resolver: Arc<dyn Resolver>, clock: Clock) -> Self {
        Self { resolver, clock, known: Mutex::new(Vec::new()) }
    }

    /// Addresses to try in this order; the last good one is among them.
    pub(crate) async fn addresses(&self, host: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        if let Some(good) = self.while_pausing(host) {
            return Ok(vec![SocketAddr::new(good, port)]);
        }
        let asked = tokio::time::timeout(limit, self.resolver.resolve(host, port)).await;
        let found = match asked {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(io::Error::other("the name has no address")),
            Ok(answer) => answer,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the name was not resolved in time")),
        };
        let mut known = self.known.lock();
        let known = known.iter_mut().find(|known| known.host == host);
        match (found, known) {
            (Ok(mut addresses), known) => {
                addresses.truncate(ADDRESSES_MAX);
                if let Some(known) = known {
                    known.backoff.reset();
                    known.ask_mono_ns = 0;
                    if !addresses.iter().any(|address| address.ip() == known.good) {
                        addresses.push(SocketAddr::new(known.good, port));
                    }
                }
                Ok(addresses)
            }
            (Err(error), Some(known)) => {
                let pause_ms = known.backoff.next_ms();
                known.ask_mono_ns = self.clock.mono_ns().saturating_add(pause_ms * 1_000_000);
                tracing::warn!(host, %error, pause_ms, good = %known.good, "the name was not resolved; its last good address is used");
                Ok(vec![SocketAddr::new(known.good, port)])
            }
            (Err(error), None) => Err(error),
        }
    }

    /// The good address of a host, while its resolver is left alone.
    fn while_pausing(&self, host: &str) -> Option<IpAddr> {
        let known = self.known.lock();
        let known = known.iter().find(|known| known.host == host)?;
        (self.clock.mono_ns() < known.ask_mono_ns).then_some(known.good)
    }

    /// A connection to this address stands.
    pub(crate) fn worked(&self, host: &str, good: IpAddr) {
        let mut all = self.known.lock();
        match all.iter_mut().find(|known| known.host == host) {
            Some(known) => known.good = good,
            None => {
                let backoff = Backoff::new(PAUSE_MS.0, PAUSE_MS.1, self.clock.now_ns().rotate_left(13));
                all.push(Known { host: host.to_owned(), good, backoff, ask_mono_ns: 0 });
            }
        }
    }

    /// No address of this host took a connection: the resolver may know better by now.
    pub(crate) fn failed(&self, host: &str) {
        if let Some(known) = self.known.lock().iter_mut().find(|known| known.host == host) {
            known.ask_mono_ns = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, Default)]
    struct Script {
        answer: Mutex<Option<Vec<SocketAddr>>>,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl Resolver for Script {
        async fn resolve(&self, _host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.answer.lock().clone().ok_or_else(|| io::Error::other("SERVFAIL"))
        }
    }

    const LIMIT: Duration = Duration::from_secs(1);

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 9))
    }

    #[tokio::test]
    async fn n_01_while_names_fail_the_good_address_serves_and_the_resolver_is_asked_after_growing_pauses() {
        let (script, clock) = (Arc::new(Script::default()), Clock::manual_at(1));
        let names = Names::new(script.clone(), clock.clone());
        assert!(names.addresses("venue", 9, LIMIT).await.is_err(), "nothing is known yet");
        *script.answer.lock() = Some(vec![at(2), at(3)]);
        assert_eq!(names.addresses("venue", 9, LIMIT).await.unwrap(), [at(2), at(3)]);
        names.worked("venue", at(3).ip());
        assert_eq!(names.addresses("venue", 9, LIMIT).await.unwrap(), [at(2), at(3)]);
        // A wrong address, and nothing else: the good one is tried after it.
        *script.answer.lock() = Some(vec![at(9)]);
        assert_eq!(names.addresses("venue", 9, LIMIT).await.unwrap(), [at(9), at(3)]);
        *script.answer.lock() = None;
        let before = script.asked.load(Ordering::SeqCst);
        let mut asked_at_ms = Vec::new();
        for now_ms in 0..600_000u64 {
            if now_ms % 10 == 0 {
                assert_eq!(names.addresses("venue", 9, LIMIT).await.unwrap(), [at(3)]);
                if script.asked.load(Ordering::SeqCst) > before + asked_at_ms.len() {
                    asked_at_ms.push(now_ms);
                }
            }
            clock.advance(Duration::from_millis(1));
        }
        let pauses: Vec<u64> = asked_at_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((20..60).contains(&asked_at_ms.len()), "{asked_at_ms:?}");
        assert!(pauses.iter().all(|pause| (500..=30_010).contains(pause)), "{pauses:?}");
        assert!(pauses.last() > pauses.first(), "{pauses:?}");
        // The good one is dead, too: asked at once.
        names.failed("venue");
        *script.answer.lock() = Some(vec![at(4)]);
        assert_eq!(names.addresses("venue", 9, LIMIT).await.unwrap(), [at(4), at(3)]);
        assert_eq!(names.addresses("127.0.0.7", 9, LIMIT).await.unwrap(), [at(7)], "an address is its own name");
    }
}
