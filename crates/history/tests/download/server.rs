//! A fake venue on loopback: the layout of the archives and the REST endpoints over made-up rows, with faults on demand.
//!
//! The rows are a pure function of the time, so that a test knows what must come. Shared with the launcher's end-to-end tests.

use bytes::Bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;
pub(crate) const MINUTE_NS: u64 = 60 * SECOND_NS;
pub(crate) const HOUR_NS: u64 = 60 * MINUTE_NS;
pub(crate) const DAY_NS: u64 = 24 * HOUR_NS;
/// 2025-01-01: from here on spot archives have microseconds.
const MICROS_FROM_NS: u64 = 1_735_689_600 * SECOND_NS;
/// Seconds between two trades, quotes.
pub(crate) const TRADE_EVERY_S: u64 = 10;
/// Seconds between two payments.
const FUNDING_EVERY_S: u64 = 8 * 3_600;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This status; with a pause to be kept, in seconds.
    Status(u16, Option<u64>),
    /// A body that is complete by its length and has half of the bytes.
    Truncated,
    /// A checksum of something else.
    WrongSum,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// Nothing more comes after so many bytes.
    Stall(usize),
    /// So many milliseconds before each 256 bytes.
    Slow(u64),
}

/// Stands for every archive.
const ARCHIVES: &str = "*.zip";

fn is_archive(target: &str) -> bool {
    target.split(' ').next().is_some_and(|path| path.ends_with(".zip"))
}

struct Planned {
    part_of_path: String,
    fault: Fault,
    times: u32,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<Vec<Planned>>,
    log: Mutex<Vec<String>>,
    made: Mutex<BTreeMap<String, (Bytes, String)>>,
    now_ns: u64,
    listed_from_ns: u64,
}

/// The fake venue; it ends when it is dropped.
pub(crate) struct FakeVenue {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeVenue {
    /// A venue whose clock stands at `now_ns` and that has one symbol, `BTCUSDT` (`BTCUSD_PERP` on COIN-M), since `listed_from_ns`.
    #[allow(clippy::disallowed_methods, reason = "a test's own thread, joined in drop")]
    pub(crate) fn start(now_ns: u64, listed_from_ns: u64) -> Self {
        let shared = Arc::new(Shared { now_ns, listed_from_ns, ..Shared::default() });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let for_thread = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let mut connections = tokio::task::JoinSet::new();
                tokio::pin!(stopped);
                loop {
                    tokio::select! {
                        _ = &mut stopped => return,
                        accepted = listener.accept() => {
                            let shared = for_thread.clone();
                            connections.spawn(async move {
                                let service = service_fn(move |request| answer(shared.clone(), request));
                                let io = TokioIo::new(accepted.unwrap().0);
                                drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
                            });
                        }
                    }
                }
            });
        });
        let address = told.recv().unwrap();
        Self { shared, address, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests whose path holds `part_of_path` meet this fault.
    pub(crate) fn fail(&self, part_of_path: &str, fault: Fault, times: u32) {
        self.shared.faults.lock().unwrap().push(Planned { part_of_path: part_of_path.to_owned(), fault, times });
    }

    /// The same for archives, but not for their checksums.
    pub(crate) fn fail_archive(&self, fault: Fault, times: u32) {
        self.fail(ARCHIVES, fault, times);
    }

    /// How many archives were asked for.
    pub(crate) fn asked_archive(&self) -> usize {
        self.log().iter().filter(|line| is_archive(line)).count()
    }

    /// Puts other bytes in the place of an archive, with their own checksum.
    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) {
        let sum = hex::encode(Sha256::digest(&bytes));
        self.shared.made.lock().unwrap().insert(path.to_owned(), (Bytes::from(bytes), sum));
    }

    /// Everything works again.
    pub(crate) fn heal(&self) {
        self.shared.faults.lock().unwrap().clear();
    }

    /// What was asked: path, query and range.
    pub(crate) fn log(&self) -> Vec<String> {
        self.shared.log.lock().unwrap().clone()
    }

    /// How many requests held this text.
    pub(crate) fn asked(&self, text: &str) -> usize {
        self.log().iter().filter(|line| line.contains(text)).count()
    }
}

impl Drop for FakeVenue {
    fn drop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap_or_default();
        drop(self.thread.take().unwrap().join());
    }
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
    let target = request.uri().path_and_query().unwrap().to_string();
    let header = |name: &str| request.headers().get(name).map(|it| it.to_str().unwrap().to_owned());
    let (range, if_range) = (header("range"), header("if-range"));
    shared.log.lock().unwrap().push(format!("{target} {}", range.clone().unwrap_or_default()).trim_end().to_owned());
    let fault = {
        let mut faults = shared.faults.lock().unwrap();
        let found = faults.iter_mut().find(|it| {
            let fits =
                if it.part_of_path == ARCHIVES { is_archive(&target) } else { target.contains(&it.part_of_path) };
            it.times > 0 && fits
        });
        found.map(|it| {
            it.times -= 1;
            it.fault
        })
    };
    if let Some(Fault::Status(status, retry_after_s)) = fault {
        let mut response = Response::builder().status(status);
        if let Some(seconds) = retry_after_s {
            response = response.header("retry-after", seconds);
        }
        return Ok(response.body(whole(Bytes::from_static(b"{\"code\":-1,\"msg\":\"no\"}"))).unwrap());
    }
    let uri = request.uri();
    let query: BTreeMap<&str, &str> =
        uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')).collect();
    let made = match uri.path().strip_prefix("/data/") {
        Some(path) => archive(&shared, path, fault),
        None => rest(&shared, uri.path(), &query),
    };
    let (status, mut body, etag) = match made {
        Ok((body, etag)) => (StatusCode::OK, body, etag),
        Err((status, text)) => (StatusCode::from_u16(status).unwrap(), Bytes::from(text), String::new()),
    };
    if fault == Some(Fault::Truncated) {
        body = body.slice(..body.len() / 2);
    }
    let mut response = Response::builder().status(status).header("etag", format!("\"{etag}\""));
    if uri.path().starts_with("/api/") {
        response = response.header("x-mbx-used-weight-1m", 7);
    }
    if let Some(from) =
        range.as_deref().and_then(|it| it.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok())
        && if_range.is_none_or(|tag| tag == format!("\"{etag}\""))
        && status == StatusCode::OK
    {
        let length = body.len();
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header("content-range", format!("bytes {from}-{}/{length}", length - 1));
        body = body.slice(from..);
    }
    response = response.header("content-length", body.len());
    Ok(response.body(spoiled(body, fault)).unwrap())
}

fn whole(body: Bytes) -> Body {
    http_body_util::Full::new(body).map_err(|never| match never {}).boxed_unsync()
}

/// The body, as far as the fault lets it come.
fn spoiled(body: Bytes, fault: Option<Fault>) -> Body {
    let frame = |bytes: Bytes| Ok::<_, std::io::Error>(Frame::data(bytes));
    let head = |count: usize| body.slice(..count.min(body.len()));
    match fault {
        Some(Fault::Cut(count)) => {
            // Apart, so that what came before the end is on its way first.
            let cut = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Err(std::io::Error::other("cut"))
            };
            BodyExt::boxed_unsync(StreamBody::new(stream::iter([frame(head(count))]).chain(stream::once(cut))))
        }
        Some(Fault::Stall(count)) => {
            let stream = stream::iter([frame(head(count))]).chain(stream::pending());
            BodyExt::boxed_unsync(StreamBody::new(stream))
        }
        Some(Fault::Slow(pause_ms)) => {
            let chunks: Vec<Bytes> = body.chunks(256).map(|chunk| body.slice_ref(chunk)).collect();
            let stream = stream::iter(chunks).then(move |chunk| async move {
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
                frame(chunk)
            });
            BodyExt::boxed_unsync(StreamBody::new(stream))
        }
        _ => whole(body),
    }
}

type Made = Result<(Bytes, String), (u16, String)>;

fn none() -> Made {
    Err((404, "<Error><Code>NoSuchKey</Code></Error>".to_owned()))
}

/// `spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01.zip[.CHECKSUM]`
fn archive(shared: &Shared, path: &str, fault: Option<Fault>) -> Made {
    let is_sum = path.ends_with(".CHECKSUM");
    let path = path.strip_suffix(".CHECKSUM").unwrap_or(path);
    let cached = shared.made.lock().unwrap().get(path).cloned();
    let (zip, sum) = match cached {
        Some(made) => made,
        None => {
            let Some(csv) = archive_csv(shared, path) else { return none() };
            let name = path.rsplit('/').next().unwrap();
            let zip = Bytes::from(zip(&name.replace(".zip", ".csv"), csv.as_bytes()));
            let sum = hex::encode(Sha256::digest(&zip));
            shared.made.lock().unwrap().insert(path.to_owned(), (zip.clone(), sum.clone()));
            (zip, sum)
        }
    };
    if is_sum {
        let shown = if fault == Some(Fault::WrongSum) { "0".repeat(64) } else { sum };
        return Ok((Bytes::from(format!("{shown}  {}\n", path.rsplit('/').next().unwrap())), String::new()));
    }
    Ok((zip, sum[..32].to_owned()))
}

fn archive_csv(shared: &Shared, path: &str) -> Option<String> {
    let (market, rest) = [("spot", "spot/"), ("usdm", "futures/um/"), ("coinm", "futures/cm/")]
        .iter()
        .find_map(|(market, prefix)| Some((*market, path.strip_prefix(prefix)?)))?;
    let words: Vec<&str> = rest.split('/').collect();
    let (granularity, kind, symbol) = (words[0], words[1], words[2]);
    if symbol != symbol_of(market) {
        return None;
    }
    let stem = words.last()?.strip_suffix(".zip")?;
    let date: Vec<u64> =
        stem.rsplit('-').take(if granularity == "monthly" { 2 } else { 3 }).map_while(|it| it.parse().ok()).collect();
    let (from_ns, to_ns) = match (granularity, date.as_slice()) {
        ("monthly", [month, year]) => {
            let next = if *month == 12 { (year + 1, 1) } else { (*year, month + 1) };
            (days(*year, *month, 1) * DAY_NS, days(next.0, next.1, 1) * DAY_NS)
        }
        ("daily", [day, month, year]) => {
            let from = days(*year, *month, *day) * DAY_NS;
            (from, from + DAY_NS)
        }
        _ => return None,
    };
    // A day's file is there half a day after its end, a month's two days after.
    let lag = if granularity == "monthly" { 2 * DAY_NS } else { DAY_NS / 2 };
    if to_ns + lag > shared.now_ns || to_ns <= shared.listed_from_ns {
        return None;
    }
    let from_ns = from_ns.max(shared.listed_from_ns);
    let micros = market == "spot" && from_ns >= MICROS_FROM_NS;
    let ts = move |ns: u64| if micros { ns / 1_000 } else { ns / 1_000_000 };
    let mut csv = String::new();
    let has_header = market != "spot";
    match kind {
        "klines" => {
            if has_header {
                csv.push_str("open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore\n");
            }
            for open in steps(from_ns, to_ns, interval_s(words[3])?) {
                let close = ts(open + interval_s(words[3])? * SECOND_NS) - 1;
                let [o, h, l, c, v] = bar(open, market);
                writeln!(csv, "{},{o},{h},{l},{c},{v},{close},1.5,3,0.5,0.7,0", ts(open)).unwrap();
            }
        }
        "trades" | "aggTrades" => {
            if has_header {
                csv.push_str(if kind == "trades" {
                    "id,price,qty,quote_qty,time,is_buyer_maker\n"
                } else {
                    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
                });
            }
            for at in steps(from_ns, to_ns, TRADE_EVERY_S) {
                let (id, price, quantity, maker) = trade(at);
                let word = if market == "spot" {
                    if maker { "True" } else { "False" }
                } else if maker {
                    "true"
                } else {
                    "false"
                };
                let tail = if market == "spot" { ",True" } else { "" };
                let middle = if kind == "trades" { "1.0".to_owned() } else { format!("{id},{id}") };
                writeln!(csv, "{id},{price},{quantity},{middle},{},{word}{tail}", ts(at)).unwrap();
            }
        }
        "bookTicker" if market != "spot" => {
            csv.push_str(
                "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time\n",
            );
            for at in steps(from_ns, to_ns, TRADE_EVERY_S) {
                let (id, price, quantity, _) = trade(at);
                writeln!(csv, "{id},{price},{quantity},99999.90,1.000,{},{}", ts(at), ts(at) + 3).unwrap();
            }
        }
        "fundingRate" if market != "spot" && granularity == "monthly" => {
            csv.push_str("calc_time,funding_interval_hours,last_funding_rate\n");
            for at in steps(from_ns, to_ns, FUNDING_EVERY_S) {
                writeln!(csv, "{},8,{}", ts(at), rate(at)).unwrap();
            }
        }
        _ => return None,
    }
    Some(csv)
}

fn rest(shared: &Shared, path: &str, query: &BTreeMap<&str, &str>) -> Made {
    let number = |name: &str| query.get(name).and_then(|it| it.parse::<u64>().ok());
    let Some((market, endpoint)) = [("spot", "/api/v3/"), ("usdm", "/fapi/v1/"), ("coinm", "/dapi/v1/")]
        .iter()
        .find_map(|(market, prefix)| Some((*market, path.strip_prefix(prefix)?)))
    else {
        return none();
    };
    if query.get("symbol") != Some(&symbol_of(market)) {
        return Err((400, "{\"code\":-1121,\"msg\":\"Invalid symbol.\"}".to_owned()));
    }
    let limit = number("limit").unwrap_or(500).min(1_000) as usize;
    let from_ns = (number("startTime").unwrap_or(0) * 1_000_000).max(shared.listed_from_ns);
    let to_ns = number("endTime").map_or(shared.now_ns, |ms| ((ms + 1) * 1_000_000).min(shared.now_ns));
    let mut rows = Vec::new();
    match endpoint {
        "klines" => {
            let Some(step_s) = query.get("interval").and_then(|it| interval_s(it)) else {
                return Err((400, "{\"code\":-1120,\"msg\":\"Invalid interval.\"}".to_owned()));
            };
            for open in steps(from_ns, to_ns, step_s).take(limit) {
                let [o, h, l, c, v] = bar(open, market);
                let (open, close) = (open / 1_000_000, (open + step_s * SECOND_NS) / 1_000_000 - 1);
                rows.push(format!(
                    "[{open},\"{o}\",\"{h}\",\"{l}\",\"{c}\",\"{v}\",{close},\"1.5\",3,\"0.5\",\"0.7\",\"0\"]"
                ));
            }
        }
        "aggTrades" | "historicalTrades" => {
            if market != "spot" && endpoint == "historicalTrades" {
                return Err((401, "{\"code\":-2014,\"msg\":\"API-key format invalid.\"}".to_owned()));
            }
            let from_ns =
                number("fromId").map_or(from_ns, |id| id * TRADE_EVERY_S * SECOND_NS).max(shared.listed_from_ns);
            for at in steps(from_ns, to_ns, TRADE_EVERY_S).take(limit) {
                let (id, p, q, m) = trade(at);
                let ms = at / 1_000_000;
                rows.push(if endpoint == "aggTrades" {
                    format!("{{\"a\":{id},\"p\":\"{p}\",\"q\":\"{q}\",\"f\":{id},\"l\":{id},\"T\":{ms},\"m\":{m},\"M\":true}}")
                } else {
                    format!("{{\"id\":{id},\"price\":\"{p}\",\"qty\":\"{q}\",\"quoteQty\":\"1\",\"time\":{ms},\"isBuyerMaker\":{m},\"isBestMatch\":true}}")
                });
            }
        }
        "fundingRate" if market != "spot" => {
            for at in steps(from_ns, to_ns, FUNDING_EVERY_S).take(limit) {
                let (ms, rate) = (at / 1_000_000, rate(at));
                rows.push(format!(
                    "{{\"symbol\":\"X\",\"fundingTime\":{ms},\"fundingRate\":\"{rate}\",\"markPrice\":\"\"}}"
                ));
            }
        }
        _ => return none(),
    }
    Ok((Bytes::from(format!("[{}]", rows.join(","))), String::new()))
}

pub(crate) fn symbol_of(market: &str) -> &'static str {
    if market == "coinm" { "BTCUSD_PERP" } else { "BTCUSDT" }
}

fn steps(from_ns: u64, to_ns: u64, step_s: u64) -> impl Iterator<Item = u64> {
    let step = step_s * SECOND_NS;
    (from_ns.next_multiple_of(step)..to_ns).step_by(step as usize)
}

fn interval_s(text: &str) -> Option<u64> {
    let known = [("1s", 1), ("1m", 60), ("5m", 300), ("1h", 3_600), ("4h", 14_400), ("1d", 86_400)];
    known.iter().find(|(name, _)| *name == text).map(|(_, seconds)| *seconds)
}

/// Open, high, low, close (scale 2) and volume (scale 5) of the bar that opens at `open_ns`, as mantissas.
pub(crate) fn bar_mantissas(open_ns: u64) -> [i64; 5] {
    let n = (open_ns / SECOND_NS) as i64;
    let (open, close) = (4_000_000 + n * 7_919 % 100_003, 4_000_000 + n * 6_311 % 99_991);
    [open, open.max(close) + n % 13, open.min(close) - n % 17, close, 1 + n * 31 % 1_000_003]
}

fn bar(open_ns: u64, market: &str) -> [String; 5] {
    let [o, h, l, c, v] = bar_mantissas(open_ns);
    // Spot writes eight decimals.
    let zeros = if market == "spot" { "000000" } else { "" };
    let price = |it: i64| format!("{}.{:02}{zeros}", it / 100, it % 100);
    [price(o), price(h), price(l), price(c), format!("{}.{:05}", v / 100_000, v % 100_000)]
}

/// Number, price, quantity, was the buyer the maker.
pub(crate) fn trade(at_ns: u64) -> (u64, String, String, bool) {
    let id = at_ns / SECOND_NS / TRADE_EVERY_S;
    (id, format!("{}.{:02}", 40_000 + id % 977, id % 100), format!("0.{:03}", 1 + id % 999), id.is_multiple_of(3))
}

fn rate(at_ns: u64) -> String {
    format!("0.{:08}", 1_000 + at_ns / SECOND_NS / FUNDING_EVERY_S % 977)
}

/// Days since 1970-01-01.
pub(crate) fn days(year: u64, month: u64, day: u64) -> u64 {
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year / 400;
    let of_era = shifted_year % 400;
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A zip archive of one deflated file.
pub(crate) fn zip(name: &str, content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    let packed = encoder.finish().unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(content);
    let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0];
    for number in [crc.sum(), packed.len() as u32, content.len() as u32] {
        common.extend(number.to_le_bytes());
    }
    common.extend((name.len() as u16).to_le_bytes());
    let mut file = [b"PK\x03\x04".as_slice(), &common, &[0, 0], name.as_bytes(), &packed].concat();
    let directory_at = file.len() as u32;
    file.extend([b"PK\x01\x02".as_slice(), &[20, 0], &common, &[0; 16], name.as_bytes()].concat());
    let directory = file.len() as u32 - directory_at;
    file.extend([b"PK\x05\x06".as_slice(), &[0, 0, 0, 0, 1, 0, 1, 0]].concat());
    file.extend([directory.to_le_bytes(), directory_at.to_le_bytes()].concat());
    file.extend([0, 0]);
    file
}
