//! L2 rows with the feed's latency in them: the venue acts on each at the venue's time, the engine at the receive time.
//!
//! At equal times answers come first, then the timer, then the venue's market, then the engine's: as for whole events. While
//! nobody decides on single messages ([`Engine::is_quiet`](keel_engine::Engine::is_quiet)) the rows up to the next arrival or
//! timer are taken in one go, the venue's first: until then nothing that the engine does reaches the venue, and a report of
//! the venue ends the span at its arrival. Both ways end in the same state, to the last digit; a test compares them.

use super::Replay;
use keel_marketdata::{L2Rows, SoundL2};
use keel_model::{InstrumentId, Timestamp};

/// How far the rows have come on both sides.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Rows that the venue has seen.
    venue: usize,
    /// Rows that the engine has seen.
    engine: usize,
}

impl Replay {
    /// Feeds level changes and trades of one instrument; they begin with an empty book.
    pub fn feed_l2(&mut self, instrument: InstrumentId, rows: &SoundL2) {
        let rows = rows.rows();
        let mut progress = Progress::default();
        while let Some(at) = next_of(&rows, &progress) {
            if self.begun.is_none() {
                self.begin(at);
            }
            let due = self.next_due();
            if due <= at {
                self.run_until(due);
            } else if self.engine.is_quiet(instrument) {
                self.feed_span(instrument, &rows, &mut progress, due);
            } else {
                self.feed_row(instrument, &rows, &mut progress, at);
            }
        }
    }

    /// Everything before `due`.
    fn feed_span(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>, progress: &mut Progress, due: Timestamp) {
        let mut due = due;
        loop {
            let Some(taken) = self.desk.on_rows(instrument, &rows.since(progress.venue), due) else {
                self.refuse(rows, progress);
                return;
            };
            progress.venue += taken;
            // A report on its way may be due before everything else.
            due = due.min(self.next_due());
            if taken == 0 || rows.ts_event_ns.get(progress.venue).is_none_or(|ts| *ts >= due.as_ns()) {
                break;
            }
        }
        let taken = self.engine.process_rows(instrument, &rows.since(progress.engine), due, &mut self.outbox);
        progress.engine += taken;
        self.now = self.now.max(self.engine.now());
        self.dispatch();
        self.settle();
    }

    /// What comes next, by itself: one row for the venue or one message for the engine.
    fn feed_row(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>, progress: &mut Progress, at: Timestamp) {
        self.now = self.now.max(at);
        let next = at.plus(std::time::Duration::from_nanos(1));
        if rows.ts_event_ns.get(progress.venue).is_some_and(|ts| *ts <= at.as_ns()) {
            let row = rows.range(progress.venue, progress.venue + 1);
            if self.desk.on_rows(instrument, &row, next).is_none() {
                self.refuse(rows, progress);
                return;
            }
            progress.venue += 1;
            return;
        }
        progress.engine += self.engine.process_rows(instrument, &rows.since(progress.engine), next, &mut self.outbox);
        self.dispatch();
        self.settle();
    }

    /// The venue does not know the instrument.
    fn refuse(&mut self, rows: &L2Rows<'_>, progress: &mut Progress) {
        self.refused += rows.len() as u64;
        *progress = Progress { venue: rows.len(), engine: rows.len() };
    }

    /// When something happens next by itself: an arrival at the venue or here, or the timer.
    fn next_due(&self) -> Timestamp {
        self.desk.next_at().map_or(self.next_timer, |at| at.min(self.next_timer))
    }
}

/// When the next row is due on either side; `None` when both have seen them all.
fn next_of(rows: &L2Rows<'_>, progress: &Progress) -> Option<Timestamp> {
    let venue = rows.ts_event_ns.get(progress.venue);
    let engine = rows.ts_recv_ns.get(progress.engine);
    let at = match (venue, engine) {
        (Some(venue), Some(engine)) => venue.min(engine),
        (venue, engine) => venue.or(engine)?,
    };
    Some(Timestamp::from_ns(*at))
}
