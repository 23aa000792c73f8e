//! Requests that are tried again: backoff, `Retry-After`, resuming where a body broke off.
//!
//! Invariants: attempts without progress are bounded, and so is every body; a pause that the server asks for is kept, and one
//! longer than [`Patience::pause_max`] is an error that says for how long; a body is complete only when it has the length that
//! its head announced.

use crate::HistoryError;
use crate::fetch::{Answer, Fetch, Head, Resume};
use crate::limits::{Limits, Weight};
use crate::part::Part;
use futures_util::StreamExt;
use keel_lifecycle::Clock;
use std::sync::Arc;
use std::time::Duration;

/// The longest excerpt of a refusal that is shown; unit: bytes.
const EXCERPT_MAX: usize = 300;

/// How long failures are borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts in a row that bring nothing.
    pub attempts_max: u32,
    /// Pause after the first failure; doubles with each.
    pub pause_min: Duration,
    /// The longest pause, ours or the server's.
    pub pause_max: Duration,
    /// Silence after which an attempt has failed.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts_max: 6,
            pause_min: Duration::from_millis(250),
            pause_max: Duration::from_secs(120),
            stall: Duration::from_secs(20),
        }
    }
}

/// Told of bytes as they come.
pub(crate) type OnBytes<'a> = &'a (dyn Fn(u64) + Sync);

/// The session with its patience and the venue's limits.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) fetch: Arc<dyn Fetch>,
    pub(crate) patience: Patience,
    pub(crate) limits: Arc<Limits>,
    pub(crate) clock: Clock,
}

/// Why an attempt brought nothing.
struct Failure {
    cause: String,
    /// Status and pause, when the server asked for one.
    asked: Option<(u16, Option<u64>)>,
}

impl From<String> for Failure {
    fn from(cause: String) -> Self {
        Self { cause, asked: None }
    }
}

impl Transfer {
    /// The whole body of a small resource; `None` where there is none (404).
    pub(crate) async fn small(
        &self,
        url: &str,
        weight: Option<Weight>,
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, HistoryError> {
        let mut failures = 0;
        loop {
            let failure = match self.small_once(url, weight, bytes_max).await? {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            failures += 1;
            self.pause(url, failures, failure).await?;
        }
    }

    async fn small_once(
        &self,
        url: &str,
        weight: Option<Weight>,
        bytes_max: usize,
    ) -> Result<Result<Option<Vec<u8>>, Failure>, HistoryError> {
        let mut answer = match self.ask(url, weight, None).await? {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        let status = answer.head.status;
        let mut body = Vec::new();
        while let Some(chunk) = answer.body.next().await {
            match chunk {
                Ok(chunk) if body.len() + chunk.len() > bytes_max => {
                    let cause = format!("longer than {bytes_max} bytes");
                    return Err(HistoryError::Unreadable { url: url.to_owned(), cause });
                }
                Ok(chunk) => body.extend_from_slice(&chunk),
                Err(cause) => return Ok(Err(cause.into())),
            }
        }
        match status {
            200 if answer.head.length.is_none_or(|length| length == body.len() as u64) => Ok(Ok(Some(body))),
            200 => Ok(Err("the answer broke off".to_owned().into())),
            404 => Ok(Ok(None)),
            _ => Err(refused(url, status, &body)),
        }
    }

    /// Fetches a resource into `part`, going on where an attempt broke off. `Some(())` when it is complete, `None` where
    /// there is none (404). What cannot be resumed is fetched anew.
    pub(crate) async fn to_part(
        &self,
        url: &str,
        part: &mut Part,
        on_bytes: OnBytes<'_>,
    ) -> Result<Option<()>, HistoryError> {
        let mut failures = 0;
        loop {
            let before = part.len();
            match self.to_part_once(url, part, on_bytes).await? {
                Ok(found) => return Ok(found.then_some(())),
                Err(failure) => {
                    // Something came: the connection is bad, not dead.
                    failures = if part.len() > before { 1 } else { failures + 1 };
                    self.pause(url, failures, failure).await?;
                }
            }
        }
    }

    async fn to_part_once(
        &self,
        url: &str,
        part: &mut Part,
        on_bytes: OnBytes<'_>,
    ) -> Result<Result<bool, Failure>, HistoryError> {
        if part.is_complete() {
            return Ok(Ok(true));
        }
        let resume = part.resume();
        let mut answer = match self.ask(url, None, resume.as_ref()).await? {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        match (answer.head.status, &resume, answer.head.range) {
            (200, ..) => part.restart(answer.head.etag.as_deref(), answer.head.length)?,
            (206, Some(resume), Some((from, whole))) if from == resume.from && part.whole() == Some(whole) => {}
            // The resource is another one than that we have the beginning of, or the server cannot count.
            (206 | 416, ..) => {
                part.restart(None, None)?;
                return Ok(Err("the server could not resume".to_owned().into()));
            }
            (404, ..) => return Ok(Ok(false)),
            (status, ..) => {
                let body = excerpt(&mut answer).await;
                return Err(refused(url, status, &body));
            }
        }
        while let Some(chunk) = answer.body.next().await {
            match chunk {
                Ok(chunk) => {
                    part.write(&chunk)?;
                    on_bytes(chunk.len() as u64);
                }
                Err(cause) => return Ok(Err(cause.into())),
            }
        }
        if part.whole().is_some_and(|whole| whole != part.len()) {
            return Ok(Err(format!("broke off after {} bytes", part.len()).into()));
        }
        part.finish();
        Ok(Ok(true))
    }

    /// One request; the failures that another attempt may mend are inside.
    async fn ask(
        &self,
        url: &str,
        weight: Option<Weight>,
        resume: Option<&Resume>,
    ) -> Result<Result<Answer, Failure>, HistoryError> {
        if let Some(weight) = weight {
            self.limits
                .admit(&self.clock, weight, self.patience.pause_max)
                .await
                .map_err(|wait_s| HistoryError::Limited { url: url.to_owned(), status: 429, wait_s })?;
        }
        // The body has the stall limit of the session; the head gets one here, for sessions of other kinds.
        let answer = match tokio::time::timeout(self.patience.stall, self.fetch.get(url, resume)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(cause)) => return Ok(Err(cause.into())),
            Err(_) => return Ok(Err("no answer in time".to_owned().into())),
        };
        let Head { status, retry_after_s, used_weight_1m, .. } = answer.head;
        if let Some(weight) = weight {
            self.limits.observe(&self.clock, weight, used_weight_1m);
        }
        match status {
            429 | 418 => {
                if let Some(weight) = weight {
                    self.limits.hold(&self.clock, weight, retry_after_s.unwrap_or(10));
                }
                let cause = format!("the venue limits our requests (status {status})");
                Ok(Err(Failure { cause, asked: Some((status, retry_after_s)) }))
            }
            408 | 500..=599 => {
                let asked = retry_after_s.map(|_| (status, retry_after_s));
                Ok(Err(Failure { cause: format!("the server failed (status {status})"), asked }))
            }
            _ => Ok(Ok(answer)),
        }
    }

    /// Waits before the next attempt, or gives up.
    async fn pause(&self, url: &str, failures: u32, failure: Failure) -> Result<(), HistoryError> {
        let Failure { cause, asked } = failure;
        if failures >= self.patience.attempts_max {
            return Err(HistoryError::Unreachable { url: url.to_owned(), cause, attempts: failures });
        }
        let doubled = self.patience.pause_min.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let mut pause = doubled.min(self.patience.pause_max);
        if let Some((status, wait_s)) = asked {
            let wait_s = wait_s.unwrap_or(0);
            if Duration::from_secs(wait_s) > self.patience.pause_max {
                return Err(HistoryError::Limited { url: url.to_owned(), status, wait_s });
            }
            pause = pause.max(Duration::from_secs(wait_s));
        }
        // Up to an eighth more, so that parallel requests do not come back in step.
        let spread_ns = u64::try_from(pause.as_nanos() / 8).unwrap_or(u64::MAX).max(1);
        pause += Duration::from_nanos(self.clock.mono_ns() % spread_ns);
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        if failures > 1 {
            tracing::warn!(url, cause, failures, pause_ms, "trying again");
        } else {
            tracing::debug!(url, cause, failures, pause_ms, "trying again");
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

async fn excerpt(answer: &mut Answer) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = answer.body.next().await {
        body.extend_from_slice(&chunk);
        if body.len() > EXCERPT_MAX {
            break;
        }
    }
    body
}

fn refused(url: &str, status: u16, body: &[u8]) -> HistoryError {
    let text = String::from_utf8_lossy(body.get(..EXCERPT_MAX.min(body.len())).unwrap_or_default());
    HistoryError::Refused { url: url.to_owned(), status, text: text.trim().escape_debug().to_string() }
}
