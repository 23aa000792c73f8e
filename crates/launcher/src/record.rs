//! `launcher record`: keeps a live feed in the form of the recordings, so that `--replay` can play it again.
//!
//! One line is the local receive time in nanoseconds, a blank and the frame as it came; book snapshots are kept between the
//! frames. Nothing is dropped: when the disk is slow, the socket waits. Each second's frames are one gzip member written in one
//! go, so that what a crash leaves can be read to its end; at most the last second is lost.

use crate::cli::{Common, RunArgs, parse_duration};
use crate::config::{self, Mode};
use crate::error::LaunchError;
use crate::out;
use crate::run::parts::{self, groups};
use crate::run::{ask, market};
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;
use keel_exchange::{FeedSink, Subscription};
use keel_lifecycle::{Clock, ExitStatus, RunContext, TaskKind};
use keel_model::{FeedState, InstrumentId, Instruments, MarketEvent, StreamKind, Timestamp};
use parking_lot::Mutex;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Frames are kept in memory no longer than this.
const MEMBER_NS: u64 = 1_000_000_000;
/// Nor more of them than this; unit: bytes before packing.
const MEMBER_BYTES: u64 = 4 * 1024 * 1024;
/// How often the end is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How often what was written is made durable.
const SYNC_NS: u64 = 10_000_000_000;
/// What frames of market streams begin with; answers to our own requests are not kept.
const STREAM_MARK: &[u8] = b"{\"stream\":\"";

/// Flags of `record`.
#[derive(Clone, Debug, Args)]
pub struct RecordArgs {
    /// Instruments to record, comma-separated
    #[arg(long, value_name = "SYMBOLS", value_delimiter = ',', required = true)]
    pub symbols: Vec<String>,
    /// embedded, binance, binance-testnet, or the address of a `launcher venue`
    #[arg(long, value_name = "VENUE")]
    pub venue: Option<String>,
    /// How long: seconds, or 90s, 15m, 1h30m [default: until stopped]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, allow_negative_numbers = true)]
    pub duration: Option<Duration>,
    /// A new file, for example btcusdt.ws.gz; with several symbols a folder, one file for each
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// End when the files have this size together
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub max_mb: Option<u64>,
}

/// One file while it grows.
struct Tape {
    path: PathBuf,
    symbol: String,
    /// `None` once it is closed.
    file: Option<File>,
    member: GzEncoder<Vec<u8>>,
    /// Bytes in `member` before packing, and since when they wait.
    waiting: u64,
    since_ns: u64,
    synced_ns: u64,
    frames: u64,
    /// Bytes of whole members in the file.
    bytes: u64,
}

fn new_member() -> GzEncoder<Vec<u8>> {
    GzEncoder::new(Vec::new(), Compression::fast())
}

impl Tape {
    fn create(path: PathBuf, symbol: String) -> Result<Self, LaunchError> {
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = made.map_err(|source| LaunchError::Io {
            what: "write the recording",
            path: path.clone(),
            source,
            remedy: "name a new file in a folder of yours; existing files are never overwritten".into(),
        })?;
        let member = new_member();
        Ok(Self { path, symbol, file: Some(file), member, waiting: 0, since_ns: 0, synced_ns: 0, frames: 0, bytes: 0 })
    }

    fn keep(&mut self, frame: &[u8], ts_ns: u64) -> std::io::Result<()> {
        if self.file.is_none() {
            return Ok(());
        }
        if self.waiting == 0 {
            self.since_ns = ts_ns;
        }
        write!(self.member, "{ts_ns} ")?;
        // A line is a frame; in JSON a line break is a blank.
        for (at, part) in frame.split(|byte| *byte == b'\n').enumerate() {
            if at > 0 {
                self.member.write_all(b" ")?;
            }
            self.member.write_all(part)?;
        }
        self.member.write_all(b"\n")?;
        self.waiting += frame.len() as u64 + 21;
        self.frames += 1;
        if self.waiting >= MEMBER_BYTES { self.flush(ts_ns) } else { Ok(()) }
    }

    fn tick(&mut self, now_ns: u64) -> std::io::Result<()> {
        if self.waiting > 0 && now_ns.saturating_sub(self.since_ns) >= MEMBER_NS {
            return self.flush(now_ns);
        }
        Ok(())
    }

    /// Ends the member and writes it in one go; when that fails, the file ends with the member before.
    fn flush(&mut self, now_ns: u64) -> std::io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| self.waiting > 0) else { return Ok(()) };
        let packed = std::mem::replace(&mut self.member, new_member()).finish()?;
        self.waiting = 0;
        if let Err(error) = file.write_all(&packed) {
            file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes += packed.len() as u64;
        if now_ns.saturating_sub(self.synced_ns) >= SYNC_NS {
            self.synced_ns = now_ns;
            file.sync_data()?;
        }
        Ok(())
    }

    /// Writes what waits and closes the file; frames that still come are left out.
    fn finish(&mut self) -> std::io::Result<()> {
        let flushed = self.flush(0);
        let synced = self.file.take().map_or(Ok(()), |file| file.sync_all());
        flushed.and(synced)
    }
}

/// Where the feed delivers.
#[derive(Default)]
struct Recorder {
    /// By instrument, in their order.
    tapes: Mutex<Vec<Tape>>,
    failed: Mutex<Option<String>>,
}

impl Recorder {
    /// The tape of a frame, by the name of its stream: `btcusdt@trade`.
    fn at(tapes: &[Tape], frame: &[u8]) -> Option<usize> {
        let name = frame.strip_prefix(STREAM_MARK)?;
        let end = name.iter().take(64).position(|byte| *byte == b'@')?;
        let symbol = name.get(..end)?;
        tapes.iter().position(|tape| tape.symbol.as_bytes().eq_ignore_ascii_case(symbol))
    }

    fn each(&self, mut act: impl FnMut(&mut Tape) -> std::io::Result<()>) {
        for tape in self.tapes.lock().iter_mut() {
            if let Err(error) = act(tape) {
                self.fail(tape, &error);
            }
        }
    }

    fn fail(&self, tape: &Tape, error: &std::io::Error) {
        let text = format!(
            "cannot write {}: {error}; make room on the disk; what was written before can be played",
            tape.path.display()
        );
        self.failed.lock().get_or_insert(text);
    }

    fn bytes(&self) -> u64 {
        self.tapes.lock().iter().map(|tape| tape.bytes).sum()
    }
}

impl FeedSink for Recorder {
    fn on_market(&self, _event: &MarketEvent) {}

    fn on_state(&self, stream: StreamKind, state: FeedState, _ts: Timestamp) {
        tracing::debug!(?stream, ?state, "stream");
    }

    fn wants_frames(&self) -> bool {
        true
    }

    fn on_frame(&self, frame: &[u8], snapshot_of: Option<InstrumentId>, ts_recv: Timestamp) {
        let mut tapes = self.tapes.lock();
        let at = match snapshot_of {
            Some(instrument) => Some(instrument.index()),
            None => Self::at(&tapes, frame),
        };
        if let Some(tape) = at.and_then(|at| tapes.get_mut(at))
            && let Err(error) = tape.keep(frame, ts_recv.as_ns())
        {
            self.fail(tape, &error);
        }
    }
}

/// Closes the files when the recording ends, in whatever way.
struct Closing(Arc<Recorder>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.each(Tape::finish);
    }
}

/// `launcher record`.
pub fn record(common: &Common, args: &RecordArgs) -> Result<ExitStatus, LaunchError> {
    let run = RunArgs { venue: args.venue.clone(), symbols: args.symbols.clone(), ..RunArgs::default() };
    let layers = config::load_layers(common, &run)?;
    let mut config = config::validate(&layers)?;
    // Public data: no keys, whatever the mode.
    config.mode = Mode::Paper;
    let is_folder = args.symbols.len() > 1;
    if is_folder && args.out.is_file() {
        let cause =
            format!("--out: {} is a file, and each of several symbols gets its own; name a folder", args.out.display());
        return Err(LaunchError::Usage(cause));
    }
    let (recorder, asked) = (Arc::new(Recorder::default()), args.clone());
    let for_run = recorder.clone();
    let clock = Clock::system();
    let began_ns = clock.mono_ns();
    let ran = ask::under_lifecycle(common, config, clock.clone(), "the recording", move |context, shared| async move {
        let access = market::open(&context, &shared, None).await?;
        let client = access.client();
        shared.parts.lock().clients.push(client.clone());
        let found =
            client.instruments(&asked.symbols).await.map_err(|error| LaunchError::start(&access.name, error))?;
        let mut instruments = Instruments::new();
        for instrument in found {
            let id = instruments.upsert(instrument);
            id.ok_or_else(|| LaunchError::refused(&access.name, "too many instruments; name fewer"))?;
        }
        if let Some(missing) = asked.symbols.iter().find(|symbol| instruments.by_symbol(symbol).is_none()) {
            let cause = format!("it has no instrument `{missing}`; see launcher list-markets");
            return Err(LaunchError::refused(&access.name, cause));
        }
        let closing = Closing(for_run.clone());
        *for_run.tapes.lock() = tapes(&instruments, &asked.out, is_folder)?;
        let all = Subscription { instrument: InstrumentId(0), top_of_book: true, depth: true, trades: true };
        let subscriptions = instruments.iter().map(|it| Subscription { instrument: it.id, ..all }).collect();
        let feed = access.public_feed(&Arc::new(instruments), subscriptions);
        let sink = for_run.clone();
        parts::group(&context, groups::MARKET).spawn_with("market", TaskKind::Background, |stop| feed.run(sink, stop));
        let watched = watch(&context, &for_run, &asked).await;
        drop(closing);
        watched
    });
    let seconds = clock.since(began_ns).as_secs_f64();
    tell(common, &recorder, seconds, ran)
}

/// One file for each instrument.
fn tapes(instruments: &Instruments, out: &Path, is_folder: bool) -> Result<Vec<Tape>, LaunchError> {
    if is_folder {
        std::fs::create_dir_all(out).map_err(|source| LaunchError::Io {
            what: "make the folder",
            path: out.into(),
            source,
            remedy: "name a folder that can be made".into(),
        })?;
    }
    let path =
        |symbol: &str| if is_folder { out.join(format!("{}.ws.gz", symbol.to_lowercase())) } else { out.to_path_buf() };
    instruments.iter().map(|it| Tape::create(path(it.symbol.as_str()), it.symbol.to_string())).collect()
}

/// Until the time is over, the size is reached, something failed, or a stop is asked for.
async fn watch(context: &RunContext, recorder: &Recorder, args: &RecordArgs) -> Result<(), LaunchError> {
    let began = context.clock.mono_ns();
    let most = args.max_mb.map_or(u64::MAX, |mb| mb.saturating_mul(1_000_000));
    loop {
        recorder.each(|tape| tape.tick(context.clock.now_ns()));
        let failed = recorder.failed.lock().clone();
        if let Some(cause) = failed {
            return Err(LaunchError::start("record", cause));
        }
        let is_over = args.duration.is_some_and(|duration| context.clock.since(began) >= duration);
        if is_over || recorder.bytes() >= most || context.stop.is_requested() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            _ = context.stop.requested() => {}
        }
    }
}

/// What was recorded; a file without a frame is taken away, and is a failure.
fn tell(
    common: &Common,
    recorder: &Recorder,
    seconds: f64,
    ran: Result<ExitStatus, LaunchError>,
) -> Result<ExitStatus, LaunchError> {
    let tapes = recorder.tapes.lock();
    for tape in tapes.iter().filter(|tape| tape.frames == 0) {
        drop(std::fs::remove_file(&tape.path));
    }
    let mut status = ran?;
    if let Some(cause) = recorder.failed.lock().clone() {
        return Err(LaunchError::start("record", cause));
    }
    if common.json {
        let files = tapes.iter().map(|tape| {
            let file = (tape.frames > 0).then(|| tape.path.display().to_string());
            json!({ "symbol": tape.symbol, "file": file, "frames": tape.frames, "bytes": tape.bytes })
        });
        out::line(&json!({ "seconds": seconds, "recordings": files.collect::<Vec<_>>() }).to_string());
    }
    for tape in tapes.iter() {
        if tape.frames == 0 {
            out::note(&format!("error: nothing of {} came in {seconds:.0} s; there is no file", tape.symbol));
            status = status.and(ExitStatus::Failed);
        } else if !common.json {
            let (frames, mb, path) = (tape.frames, tape.bytes as f64 / 1e6, tape.path.display());
            out::line(&format!(
                "{}: {frames} frames in {seconds:.0} s, {mb:.2} MB: {path}; play it: launcher --replay {path}",
                tape.symbol
            ));
        }
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const FRAME: &[u8] = br#"{"stream":"btcusdt@trade","data":{"s":"BTCUSDT"}}"#;

    fn recorder(dir: &tempfile::TempDir) -> Recorder {
        let tape = Tape::create(dir.path().join("a.ws.gz"), "BTCUSDT".into()).unwrap();
        Recorder { tapes: Mutex::new(vec![tape]), failed: Mutex::default() }
    }

    fn text(path: &Path) -> String {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn frames_of_streams_and_snapshots_are_lines_and_answers_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = recorder(&dir);
        recorder.on_frame(FRAME, None, Timestamp::from_ns(5));
        recorder.on_frame(br#"{"result":null,"id":1}"#, None, Timestamp::from_ns(6));
        recorder.on_frame(br#"{"stream":"ethusdt@trade","data":{}}"#, None, Timestamp::from_ns(6));
        recorder.on_frame(b"{\"lastUpdateId\":1,\n\"bids\":[]}", Some(InstrumentId(0)), Timestamp::from_ns(7));
        recorder.each(Tape::finish);
        let frame = std::str::from_utf8(FRAME).unwrap();
        let wanted = format!("5 {frame}\n7 {{\"lastUpdateId\":1, \"bids\":[]}}\n");
        assert_eq!(text(&dir.path().join("a.ws.gz")), wanted);
    }

    #[test]
    fn what_is_there_after_each_second_can_be_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let recorder = recorder(&dir);
        for second in 1..=3 {
            recorder.on_frame(FRAME, None, Timestamp::from_ns(second * MEMBER_NS));
            recorder.each(|tape| tape.tick((second + 1) * MEMBER_NS));
            assert_eq!(text(&dir.path().join("a.ws.gz")).lines().count() as u64, second);
        }
        assert_eq!(recorder.bytes(), std::fs::metadata(dir.path().join("a.ws.gz")).unwrap().len());
    }

    #[test]
    fn a_file_that_is_there_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ws.gz");
        std::fs::write(&path, b"mine").unwrap();
        let message = Tape::create(path.clone(), "X".into()).err().unwrap().to_string();
        assert!(message.contains("never overwritten"), "{message}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
