//! How far a download is, and what it came to.

use keel_catalogue::Span;
use std::fmt::Debug;

/// Who gave a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The cache.
    Cache,
    /// The archives.
    Vision,
    /// REST.
    Rest,
}

impl Source {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Vision => "vision",
            Self::Rest => "rest",
        }
    }
}

/// A piece that is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceDone {
    /// The archive's name, or the span for REST.
    pub name: String,
    /// What it covers.
    pub span: Span,
    /// Who gave it.
    pub source: Source,
    /// Its rows.
    pub rows: u64,
}

/// Is told how far a download is. Called from the downloading task: it must not block.
pub trait Progress: Send + Sync + Debug {
    /// So many pieces have come to the plan.
    fn planned(&self, pieces: u64) {
        let _: u64 = pieces;
    }

    /// So many bytes have come.
    fn bytes(&self, count: u64) {
        let _: u64 = count;
    }

    /// A piece is complete and kept.
    fn done(&self, piece: &PieceDone) {
        let _: &PieceDone = piece;
    }

    /// Something that a person should know.
    fn note(&self, text: &str) {
        let _: &str = text;
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoProgress;

impl Progress for NoProgress {}

/// What a download came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Downloaded {
    /// Rows of the span that the cache has now.
    pub rows: u64,
    /// Did the cache have everything?
    pub is_hit: bool,
    /// Pieces from the archives.
    pub vision_pieces: u64,
    /// Pieces from REST.
    pub rest_pieces: u64,
    /// Rows that were fetched; archives may hold more than the span.
    pub rows_fetched: u64,
    /// Bytes that came.
    pub bytes: u64,
    /// Downloads that were thrown away because their checksum was wrong, and fetched again.
    pub checksum_failures: u64,
    /// Archives that do not exist and that nothing stands in for.
    pub missing: Vec<String>,
}
