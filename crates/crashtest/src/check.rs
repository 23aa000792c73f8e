//! The checker: compares the venue's log, the journal and the final status, and knows nothing else.
//!
//! | invariant | what is compared |
//! |---|---|
//! | I1 | each client id intended once and accepted at most once; each order at the venue is the one that was intended; never filled beyond it |
//! | I2 | each order and trade at the venue with our prefix is in the journal |
//! | I3 | positions and balances of the final status equal the venue's |
//! | I4 | each trade in the journal exists at the venue, with the same words, once |
//! | I5 | what the journal calls rejected or not sent was never accepted |
//! | I6 | the journal reads whole, and the final digest is the one that it ends with |
//! | I7 | after recovery no order is of unknown state and none is open that should not be |
//! | I10 | no lock held, no draft file, no leak in the report |

use crate::error::CrashError;
use crate::ledger::{self, Ledger};
use crate::place::Place;
use crate::venue_log::{self, VenueBook};
use keel_model::{ClientOrderId, Notional, OrderType, Price, Quantity, Side};
use keel_store::FolderLock;
use std::collections::BTreeMap;
use std::path::Path;

/// What was found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// What there was to compare: a test in which nothing happened proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Intents in the journal.
    pub intents: usize,
    /// Orders at the venue.
    pub orders: usize,
    /// Trades at the venue.
    pub trades: usize,
    /// Starts of the launcher that got as far as the journal.
    pub sessions: u32,
    /// Records of the journal.
    pub records: u64,
}

impl Facts {
    /// Adds another test's.
    pub fn add(&mut self, other: Self) {
        self.intents += other.intents;
        self.orders += other.orders;
        self.trades += other.trades;
        self.sessions += other.sessions;
        self.records += other.records;
    }
}

/// Collects what is wrong.
#[derive(Debug, Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, invariant: &'static str, what: impl Into<String>) {
        self.0.push(Violation { invariant, what: what.into() });
    }
}

/// Judges a place whose last run ended by itself, asked to cancel all orders.
pub fn judge(place: &Place) -> Result<(Facts, Vec<Violation>), CrashError> {
    let venue = venue_log::read(&place.venue_log)?;
    let mut found = Findings::default();
    let ledger = match ledger::read(&place.journal()) {
        Ok(ledger) => ledger,
        Err(error) => {
            found.add("I6", error.to_string());
            return Ok((Facts::default(), found.0));
        }
    };
    orders(&venue, &ledger, &mut found);
    trades(&venue, &ledger, &mut found);
    match report(&place.report()) {
        Ok(report) => status(&venue, &ledger, &report, &mut found),
        Err(error) => found.add("I9", error.to_string()),
    }
    left_behind(&place.data(), &mut found)?;
    let facts = Facts {
        intents: ledger.intents.len(),
        orders: venue.orders.len(),
        trades: venue.trades.len(),
        sessions: ledger.sessions,
        records: ledger.records,
    };
    Ok((facts, found.0))
}

fn orders(venue: &VenueBook, ledger: &Ledger, found: &mut Findings) {
    for id in &ledger.intents_repeated {
        found.add("I1", format!("{id} was intended twice"));
    }
    let prefix = ClientOrderId::prefix(ledger.instance);
    for (text, order) in &venue.orders {
        if order.accepted > 1 {
            found.add("I1", format!("{text} was accepted {} times", order.accepted));
        }
        if order.cum_quantity > order.quantity {
            found.add("I1", format!("{text} was filled beyond its quantity: {order:?}"));
        }
        if order.is_open() {
            found.add("I7", format!("{text} is still open at the venue: {}", order.status));
        }
        let id = text.parse::<ClientOrderId>().ok().filter(|_| text.starts_with(&prefix));
        let Some(intent) = id.and_then(|id| ledger.intents.get(&id)) else {
            found.add("I2", format!("the venue has {text} and the journal has no such intent"));
            continue;
        };
        let meant = &intent.order.intent;
        // An order's trigger and type words differ between venue and model; price, side and quantity say it all.
        let price = match meant.order_type {
            OrderType::Market => Price::ZERO,
            _ => meant.price.unwrap_or(Price::ZERO),
        };
        let is_same = (intent.symbol.as_str(), meant.side == Side::Buy, meant.quantity, price)
            == (order.symbol.as_str(), order.is_buy, order.quantity, order.price);
        if !is_same {
            found.add("I1", format!("{text} at the venue is not what was intended: {order:?} instead of {meant:?}"));
        }
        if id.is_some_and(|id| ledger.surely_not_there.contains(&id)) {
            found.add("I5", format!("the journal calls {text} rejected or not sent, and the venue accepted it"));
        }
    }
}

fn trades(venue: &VenueBook, ledger: &Ledger, found: &mut Findings) {
    if venue.trades_repeated > 0 {
        found.add("I4", format!("the venue gave {} trade ids twice", venue.trades_repeated));
    }
    for (symbol, id) in &ledger.fills_contradicting {
        found.add("I4", format!("trade {id} of {symbol} stands in the journal twice with different words"));
    }
    for (key, trade) in &venue.trades {
        match ledger.fills.get(key) {
            None => found.add("I2", format!("trade {key:?} of {} is not in the journal", trade.order)),
            Some(fill) if (fill.is_buy, fill.quantity, fill.price) != (trade.is_buy, trade.quantity, trade.price) => {
                found.add("I4", format!("trade {key:?} differs: {fill:?} instead of {trade:?}"));
            }
            Some(fill) if !fill.order.is_empty() && fill.order != trade.order => {
                found.add("I4", format!("trade {key:?} is booked on {} instead of {}", fill.order, trade.order));
            }
            Some(fill) if (fill.fee, fill.fee_asset.as_str()) != (trade.fee, trade.fee_asset.as_str()) => {
                found.add("I3", format!("the fee of trade {key:?} differs: {fill:?} instead of {trade:?}"));
            }
            Some(_) => {}
        }
    }
    for key in ledger.fills.keys().filter(|key| !venue.trades.contains_key(*key)) {
        found.add("I4", format!("the journal has a trade {key:?} that the venue never made"));
    }
}

fn report(path: &Path) -> Result<serde_json::Value, CrashError> {
    let text = std::fs::read_to_string(path).map_err(|source| CrashError::io("read", path, source))?;
    serde_json::from_str(&text).map_err(|error| CrashError::unreadable(path, error))
}

fn status(venue: &VenueBook, ledger: &Ledger, report: &serde_json::Value, found: &mut Findings) {
    let texts = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|it| it.as_str().unwrap_or_default().to_owned()).collect()
    };
    for order in texts(&report["left"]["unknown_orders"]) {
        found.add("I7", format!("of unknown state after recovery: {order}"));
    }
    for order in texts(&report["left"]["orders"]) {
        found.add("I7", format!("still open after cancel-all: {order}"));
    }
    let digest = report["state_digest"].as_str();
    if digest.is_none() || digest != ledger.digest.as_deref() {
        found.add("I6", format!("the report's digest {digest:?} is not the journal's {:?}", ledger.digest));
    }
    if report["exit_code"] != 0 {
        found.add("I9", format!("the report says exit code {}", report["exit_code"]));
    }
    positions(venue, report, found);
    for balance in report["status"]["balances"].as_array().into_iter().flatten() {
        let asset = balance["asset"].as_str().unwrap_or_default();
        let of = |name: &str| balance[name].as_str().and_then(|text| text.parse::<Notional>().ok());
        let ours = of("free").zip(of("locked"));
        if venue.balances.get(asset).copied() != ours {
            found.add("I3", format!("balance of {asset}: {ours:?} instead of {:?}", venue.balances.get(asset)));
        }
    }
    for name in ["tasks", "threads", "descriptors_left", "leases", "dropped_unclosed", "errors"] {
        let left = &report["leaks"][name];
        if left.as_array().is_none_or(|it| !it.is_empty()) {
            found.add("I10", format!("left over: {name}: {left}"));
        }
    }
}

fn positions(venue: &VenueBook, report: &serde_json::Value, found: &mut Findings) {
    let mut theirs: BTreeMap<&str, Quantity> = BTreeMap::new();
    for ((symbol, id), trade) in &venue.trades {
        let sum = theirs.entry(symbol).or_insert(Quantity::ZERO);
        let next = if trade.is_buy { sum.checked_add(trade.quantity) } else { sum.checked_sub(trade.quantity) };
        match next {
            Ok(next) => *sum = next,
            Err(error) => found.add("I3", format!("trade {id} of {symbol}: {error}")),
        }
    }
    let symbols: Vec<&str> =
        report["symbols"].as_array().into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
    let mut ours: BTreeMap<&str, Quantity> = BTreeMap::new();
    for position in report["status"]["positions"].as_array().into_iter().flatten() {
        let at = position["instrument"].as_u64().and_then(|at| usize::try_from(at).ok());
        let symbol = at.and_then(|at| symbols.get(at)).copied().unwrap_or("?");
        let quantity = position["quantity"].as_str().and_then(|text| text.parse().ok()).unwrap_or(Quantity::ZERO);
        ours.insert(symbol, quantity);
    }
    for symbol in theirs.keys().chain(ours.keys()).collect::<std::collections::BTreeSet<_>>() {
        let of = |book: &BTreeMap<&str, Quantity>| book.get(*symbol).copied().unwrap_or(Quantity::ZERO);
        if of(&ours) != of(&theirs) {
            found.add("I3", format!("position in {symbol}: {} instead of {}", of(&ours), of(&theirs)));
        }
    }
}

/// Locks that are held, drafts of files, sockets.
fn left_behind(data: &Path, found: &mut Findings) -> Result<(), CrashError> {
    let mut folders = vec![data.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if let Some(holder) = FolderLock::holder(&folder) {
            found.add("I10", format!("{} is still locked by {holder}", folder.display()));
        }
        let entries = std::fs::read_dir(&folder).map_err(|source| CrashError::io("list", &folder, source))?;
        for entry in entries {
            let entry = entry.map_err(|source| CrashError::io("list", &folder, source))?;
            let kind = entry.file_type().map_err(|source| CrashError::io("look at", &entry.path(), source))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if !kind.is_file() || [".new", ".tmp", ".draft", ".probe"].iter().any(|it| name.ends_with(it)) {
                found.add("I10", format!("{} was left behind", entry.path().display()));
            }
        }
    }
    Ok(())
}
