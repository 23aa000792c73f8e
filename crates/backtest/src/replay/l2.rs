//! L2 rows with the feed's latency in them: the venue acts on each at the venue's time, the engine at the receive time.
//!
//! At equal times answers come first, then the timer, then the venue's market, then the engine's: as for whole events.

use super::Replay;
use keel_marketdata::{L2Columns, L2Error, L2Rows};
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
    /// Feeds level changes and trades of one instrument. Refused when they are not sorted or impossible.
    pub fn feed_l2(&mut self, instrument: InstrumentId, columns: &L2Columns) -> Result<(), L2Error> {
        columns.check()?;
        self.feed_rows(instrument, &columns.rows());
        Ok(())
    }

    fn feed_rows(&mut self, instrument: InstrumentId, rows: &L2Rows<'_>) {
        let mut progress = Progress::default();
        while let Some((at, is_venue)) = next_of(rows, &progress) {
            if self.begun.is_none() {
                self.begin(at);
            }
            if self.next_due() <= at {
                self.run_until(self.next_due());
                continue;
            }
            self.now = self.now.max(at);
            if is_venue {
                let row = rows.range(progress.venue, progress.venue + 1);
                progress.venue += 1;
                if self.desk.on_rows(instrument, &row).is_none() {
                    self.refused += 1;
                }
            } else {
                progress.engine += self.engine.process_rows(instrument, &rows.since(progress.engine), &mut self.outbox).max(1);
                self.dispatch();
            }
        }
    }

    /// When something happens next by itself: an arrival at the venue or here, or the timer.
    fn next_due(&self) -> Timestamp {
        self.desk.next_at().map_or(self.next_timer, |at| at.min(self.next_timer))
    }
}

/// When the next row is due, and whether it is the venue's; `None` when both sides have seen them all.
fn next_of(rows: &L2Rows<'_>, progress: &Progress) -> Option<(Timestamp, bool)> {
    let venue = rows.ts_event_ns.get(progress.venue);
    let engine = rows.ts_recv_ns.get(progress.engine);
    let (at, is_venue) = match (venue, engine) {
        (Some(venue), Some(engine)) if engine < venue => (engine, false),
        (Some(venue), _) => (venue, true),
        (None, engine) => (engine?, false),
    };
    Some((Timestamp::from_ns(*at), is_venue))
}
