//! Fetching what the cache lacks: pieces side by side, what is not in the archives from elsewhere, each verified before it is kept.
//!
//! Overload: at most `parallel` pieces are under way; the others wait in their order. The first failure ends the request; what
//! was complete by then is kept.

use super::DataManager;
use crate::HistoryError;
use crate::part::{Part, PartFolder};
use crate::progress::{Downloaded, PieceDone, Source};
use crate::request::{Request, SourcePolicy};
use crate::rest::Rest;
use crate::transfer::Transfer;
use crate::vision::{self, Piece};
use crate::worker::Jobs;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use keel_catalogue::Dataset;
use keel_catalogue::Span;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::OnceCell;

/// The largest `.CHECKSUM` that is read; unit: bytes.
const CHECKSUM_BYTES_MAX: usize = 4_096;

/// One request whose missing spans are fetched.
pub(super) struct Job<'a> {
    pub(super) manager: &'a DataManager,
    pub(super) request: &'a Request,
    pub(super) jobs: &'a Jobs,
    pub(super) transfer: Transfer,
    pub(super) now_ns: u64,
}

/// What came of a piece.
enum Outcome {
    /// Kept; with the rows where nothing is kept.
    Done(PieceDone, Option<Dataset>),
    /// Its archive is not there; these stand in for it.
    Instead(Vec<Piece>),
    /// Its archive is not there, and nothing stands in for it.
    Missing(String),
}

/// What the pieces of one request share.
struct Shared<'a> {
    job: &'a Job<'a>,
    parts: Arc<PartFolder>,
    rest: Rest,
    /// When the symbol was first traded; asked for once, when an archive is not there.
    first_day: OnceCell<Option<u64>>,
    bytes: AtomicU64,
    checksum_failures: AtomicU64,
}

impl Job<'_> {
    /// Fetches `missing`; the rows come back only where nothing is kept.
    pub(super) async fn run(
        &self,
        missing: &[Span],
        downloaded: &mut Downloaded,
    ) -> Result<Vec<Dataset>, HistoryError> {
        let mut queue = VecDeque::new();
        for span in missing {
            queue.extend(vision::plan(self.request, *span, self.now_ns)?);
        }
        let progress = &self.manager.progress;
        progress.planned(queue.len() as u64);
        let shared = Shared {
            job: self,
            parts: self.manager.parts()?,
            rest: Rest { transfer: self.transfer.clone(), bases: self.manager.settings.rest.clone() },
            first_day: OnceCell::new(),
            bytes: AtomicU64::new(0),
            checksum_failures: AtomicU64::new(0),
        };
        let mut loose = Vec::new();
        let mut under_way = FuturesUnordered::new();
        let failed = loop {
            while under_way.len() < self.manager.settings.parallel
                && let Some(piece) = queue.pop_front()
            {
                under_way.push(shared.piece(piece));
            }
            match under_way.next().await {
                None => break None,
                Some(Err(error)) => break Some(error),
                Some(Ok(Outcome::Instead(pieces))) => {
                    progress.planned(pieces.len() as u64);
                    pieces.into_iter().rev().for_each(|piece| queue.push_front(piece));
                }
                Some(Ok(Outcome::Missing(name))) => downloaded.missing.push(name),
                Some(Ok(Outcome::Done(done, data))) => {
                    match done.source {
                        Source::Vision => downloaded.vision_pieces += 1,
                        Source::Rest | Source::Cache => downloaded.rest_pieces += 1,
                    }
                    downloaded.rows_fetched += done.rows;
                    loose.extend(data);
                    progress.done(&done);
                }
            }
        };
        drop(under_way);
        downloaded.bytes = shared.bytes.load(Ordering::Relaxed);
        downloaded.checksum_failures = shared.checksum_failures.load(Ordering::Relaxed);
        downloaded.missing.sort();
        failed.map_or(Ok(loose), Err)
    }
}

impl Shared<'_> {
    async fn piece(&self, piece: Piece) -> Result<Outcome, HistoryError> {
        let Some((path, name)) = vision::archive(self.job.request, piece) else {
            return self.take_rest(piece.span()).await;
        };
        match self.take_archive(&path, &name, piece.span()).await? {
            Some((done, data)) => Ok(Outcome::Done(done, data)),
            None => self.without_archive(piece, name).await,
        }
    }

    /// An archive and what it holds; `None` when it does not exist.
    async fn take_archive(
        &self,
        path: &str,
        name: &str,
        span: Span,
    ) -> Result<Option<(PieceDone, Option<Dataset>)>, HistoryError> {
        let settings = &self.job.manager.settings;
        let url = format!("{}/{path}", settings.vision_base);
        let mut attempt = 1;
        let part = loop {
            let Some(expected) = self.checksum(&url, name).await? else { return Ok(None) };
            let mut part = Part::open(&self.parts, name)?;
            let on_bytes = |count| self.count(count);
            if self.job.transfer.to_part(&url, &mut part, &on_bytes).await?.is_none() {
                part.discard();
                return Ok(None);
            }
            let actual = part.sha256();
            if actual == expected {
                break part;
            }
            part.discard();
            self.checksum_failures.fetch_add(1, Ordering::Relaxed);
            self.job.manager.progress.note(&format!("{name}: the checksum is wrong, fetching it again"));
            if attempt >= settings.checksum_attempts_max {
                return Err(HistoryError::Checksum { file: name.to_owned(), expected, actual, attempts: attempt });
            }
            attempt += 1;
        };
        let (rows, data) = self.keep(part.rewound()?, name, span).await?;
        part.discard();
        Ok(Some((PieceDone { name: name.to_owned(), span, source: Source::Vision, rows }, data)))
    }

    /// The sum that the venue published; `None` when the archive does not exist.
    async fn checksum(&self, url: &str, name: &str) -> Result<Option<String>, HistoryError> {
        let url = format!("{url}.CHECKSUM");
        let Some(text) = self.job.transfer.small(&url, None, CHECKSUM_BYTES_MAX).await? else { return Ok(None) };
        self.count(text.len() as u64);
        vision::parse_checksum(&text, name).map(Some).map_err(|cause| HistoryError::Unreadable { url, cause })
    }

    async fn without_archive(&self, piece: Piece, name: String) -> Result<Outcome, HistoryError> {
        let request = self.job.request;
        let is_enforced = request.source == SourcePolicy::Vision;
        if is_enforced || !vision::has_rest(request.kind, request.market) {
            // A month that is not there may be there by days.
            let days = vision::instead(request, piece, self.job.now_ns);
            let has_days = matches!(days.first(), Some(Piece::Day(_)));
            return Ok(if has_days { Outcome::Instead(days) } else { Outcome::Missing(name) });
        }
        // An unknown symbol ends here, after one question instead of one for each day.
        let first_ns = self.first_day.get_or_try_init(|| self.first_day_ns()).await?;
        let span = piece.span();
        if first_ns.is_some_and(|first_ns| first_ns >= span.to_ns) {
            let done = PieceDone { name, span, source: Source::Rest, rows: 0 };
            self.keep_nothing(span).await?;
            return Ok(Outcome::Done(done, None));
        }
        Ok(Outcome::Instead(vision::instead(request, piece, self.job.now_ns)))
    }

    /// Not to know it is no failure: where REST cannot be asked, the archives still can.
    async fn first_day_ns(&self) -> Result<Option<u64>, HistoryError> {
        match self.rest.first_day_ns(self.job.request).await {
            Ok(first_ns) => {
                if let Some(first_ns) = first_ns.filter(|first_ns| *first_ns > self.job.request.span.from_ns) {
                    let text = format!(
                        "{} was first traded on {}",
                        self.job.request.symbol,
                        keel_catalogue::time_to_text(first_ns)
                    );
                    self.job.manager.progress.note(&text);
                }
                Ok(first_ns)
            }
            Err(error @ (HistoryError::UnknownSymbol { .. } | HistoryError::Closed)) => Err(error),
            Err(error) => {
                tracing::warn!(%error, "cannot ask when the symbol was first traded");
                Ok(None)
            }
        }
    }

    async fn take_rest(&self, span: Span) -> Result<Outcome, HistoryError> {
        let (lines, rows) = self.rest.lines(self.job.request, span).await?;
        self.count(lines.len() as u64);
        let done = PieceDone { name: span.to_string(), span, source: Source::Rest, rows };
        if rows == 0 {
            self.keep_nothing(span).await?;
            return Ok(Outcome::Done(done, None));
        }
        let mut file = self.parts.scratch()?;
        file.write_all(lines.as_bytes()).map_err(|error| HistoryError::io("write in", &self.parts.path, error))?;
        let (_, data) = self.keep(file, &format!("REST {span}"), span).await?;
        Ok(Outcome::Done(done, data))
    }

    /// Decodes and keeps a file whose content is proven; its rows where nothing is kept.
    async fn keep(&self, file: File, name: &str, span: Span) -> Result<(u64, Option<Dataset>), HistoryError> {
        let (cache, request, name) = (self.job.manager.cache.clone(), self.job.request.clone(), name.to_owned());
        let use_cache = self.job.manager.settings.use_cache;
        let work = move || {
            let data = cache.decode(&request, &file, &name, span)?;
            let rows = data.len() as u64;
            if use_cache {
                cache.write(&request, span, Some(data))?;
                return Ok((rows, None));
            }
            Ok((rows, Some(data)))
        };
        self.job.jobs.run(work).await
    }

    /// Remembers that there is nothing in the span.
    async fn keep_nothing(&self, span: Span) -> Result<(), HistoryError> {
        if !self.job.manager.settings.use_cache {
            return Ok(());
        }
        let (cache, request) = (self.job.manager.cache.clone(), self.job.request.clone());
        self.job.jobs.run(move || cache.write(&request, span, None)).await
    }

    fn count(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
        self.job.manager.progress.bytes(count);
    }
}
