//! Every key of the configuration, once: its type, range, default and documentation. The typed [`RawConfig`], the table
//! [`FIXED`] (with the sections of the strategies: [`sections`]) that checks and documents values, and the files that `new-config` writes all come from here.
//!
//! Invariant: every number has its unit as the last word of its name and a checked range (tested below).

pub use super::declared::sections;
use serde::{Deserialize, Serialize};

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any text.
    Text,
    /// A list of texts.
    Words,
    /// A whole number within a range, both ends included.
    Whole(i64, i64),
    /// A number within a range, both ends included. Never used for money.
    Real(f64, f64),
    /// An exact decimal within a range, both ends included; written as text or as a plain number.
    Decimal(&'static str, &'static str),
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name within the section.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// Its default, as TOML.
    pub default: &'static str,
    /// What it is for, line by line.
    pub doc: &'static [&'static str],
}

/// One section.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What it is for, line by line.
    pub doc: &'static [&'static str],
    /// Its keys.
    pub keys: &'static [Key],
}

macro_rules! schema {
    ($( $(#[doc = $section_doc:literal])* [$section:ident] $raw:ident {
        $( $(#[doc = $doc:literal])* $key:ident: $type:ty = $default:literal, $kind:expr; )*
    } )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $raw {
                $( $(#[doc = $doc])* pub $key: $type, )*
            }
        )*
        /// The configuration as it is written: every key present, nothing checked beyond its type.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct RawConfig {
            $( $(#[doc = $section_doc])* pub $section: $raw, )*
        }
        /// All sections but those of the strategies, in the order in which they are written.
        pub const FIXED: &[Section] = &[$( Section {
            name: stringify!($section),
            doc: &[$($section_doc),*],
            keys: &[$( Key { name: stringify!($key), kind: $kind, default: $default, doc: &[$($doc),*] }, )*],
        }, )*];
    };
}

const YEAR_S: f64 = 31_536_000.0;

schema! {
    /// What is run, for how long, and what becomes of orders at the end.
    [run] RawRun {
        /// `paper` trades play money; `live` trades real money and needs keys and a confirmation.
        mode: String = "\"paper\"", Kind::Word(&["paper", "live"]);
        /// Name of the account. Live trading has to be confirmed with it; orders, journal and lock carry it.
        account: String = "\"paper\"", Kind::Text;
        /// How long to trade; 0 means until stopped.
        duration_s: f64 = "0.0", Kind::Real(0.0, YEAR_S);
        /// Folder for journal, logs, reports and the lock.
        data_dir: String = "\"./keel-data\"", Kind::Text;
        /// What becomes of our open orders at the end: `cancel-entries` cancels those that would open or add and leaves
        /// those that protect a position; `cancel-all` cancels every order of ours; `keep` leaves everything;
        /// `flatten` cancels every order of ours and closes positions.
        on_exit: String = "\"cancel-entries\"", Kind::Word(&["cancel-entries", "cancel-all", "keep", "flatten"]);
        /// Seed of everything that is random in a simulated market. The same seed gives the same market.
        seed: u64 = "1", Kind::Whole(0, i64::MAX);
        /// A heartbeat line is printed this often.
        heartbeat_s: f64 = "60.0", Kind::Real(1.0, 3600.0);
        /// Threads of the trading runtime. More than 2 help only with many connections.
        worker_threads_count: usize = "2", Kind::Whole(1, 16);
    }
    /// Where orders go and market data comes from.
    [venue] RawVenue {
        /// `embedded` starts a simulated exchange inside this process; `binance` is the real one, `binance-testnet` its
        /// testnet. In paper mode `binance` means real public data with simulated fills: no keys, no orders sent.
        name: String = "\"embedded\"", Kind::Word(&["embedded", "binance", "binance-testnet"]);
        /// Address of a separate `launcher venue`, such as "http://127.0.0.1:9080"; empty: none.
        url: String = "\"\"", Kind::Text;
        /// REST address instead of the venue's own; empty: the venue's own.
        rest_url: String = "\"\"", Kind::Text;
        /// Market stream address instead of the venue's own; empty: the venue's own.
        stream_url: String = "\"\"", Kind::Text;
        /// WebSocket API address (orders, account stream) instead of the venue's own; empty: the venue's own.
        ws_api_url: String = "\"\"", Kind::Text;
        /// How long the venue may take a signed request; sent with each order.
        recv_window_ms: u64 = "5000", Kind::Whole(1, 60_000);
        /// How long after accepting an order the venue may still say that it does not know it. An order without an answer
        /// counts as never accepted only when the venue's clock is past its receive window and this. 0: the venue's own
        /// (Binance: 10000, and 60000 while it answers 5xx).
        staleness_bound_ms: u64 = "0", Kind::Whole(0, 3_600_000);
        /// Total time limit of one request.
        request_timeout_ms: u64 = "10000", Kind::Whole(100, 60_000);
        /// Instruments to trade, by the venue's symbols.
        symbols: Vec<String> = "[\"BTCUSDT\", \"ETHUSDT\"]", Kind::Words;
    }
    /// Comparing our books with the venue's: open orders, fills and balances, over connections of its own.
    [reconciliation] RawReconciliation {
        /// How often the books are compared while everything is well. A fill that the account stream kept silent about is
        /// found after this time at the latest. They are compared at the start and after each loss of a stream in any case.
        interval_s: f64 = "15.0", Kind::Real(1.0, 3600.0);
        /// What an order or a fill of somebody else on this account does: `alarm` tells it; `hold` also takes nothing that
        /// opens or adds in its instrument until a person has released it. It is never touched.
        on_foreign: String = "\"alarm\"", Kind::Word(&["alarm", "hold"]);
    }
    /// Where the keys are. The keys themselves never stand in this file.
    [credentials] RawCredentials {
        /// A TOML file with `api_key` and `api_secret` (or `private_key_file` for Ed25519). It must be a regular file of
        /// yours that nobody else can read (chmod 600). Empty: systemd's $CREDENTIALS_DIRECTORY (keel-api-key,
        /// keel-api-secret), then the variables KEEL_API_KEY and KEEL_API_SECRET.
        file: String = "\"\"", Kind::Text;
        /// How requests are signed.
        key_type: String = "\"hmac\"", Kind::Word(&["hmac", "ed25519"]);
    }
    /// Which strategies decide.
    [strategy] RawStrategy {
        /// One or more of those that `launcher list-strategies` shows. Each trades every instrument; one of two legs each
        /// pair of a spot instrument and its perpetual.
        names: Vec<String> = "[\"market-maker\"]", Kind::Words;
        /// An entry that has not filled after this time is cancelled; 0: never. Orders of brackets, OCO pairs, TWAP and
        /// iceberg orders are left to their plan.
        entry_timeout_s: f64 = "0.0", Kind::Real(0.0, 86400.0);
        /// An exit that is not a market order and has not filled after this time is cancelled; 0: never.
        exit_timeout_s: f64 = "0.0", Kind::Real(0.0, 86400.0);
        /// After so many exits in a row that did not fill in time, what is left of the last is closed at the market; 0: never.
        exit_timeouts_max_count: u64 = "0", Kind::Whole(0, 1_000);
    }
    /// Limits that no order passes. An order beyond one is denied, and says so.
    [risk] RawRisk {
        /// The most one order may be worth.
        order_notional_max_quote: String = "\"10000\"", Kind::Decimal("1", "1000000000");
        /// The most a position in one instrument may be worth, open orders included.
        position_notional_max_quote: String = "\"50000\"", Kind::Decimal("1", "1000000000");
        /// The most that all positions together may be worth, open orders included.
        gross_exposure_max_quote: String = "\"100000\"", Kind::Decimal("1", "1000000000000");
        /// The most orders open at once.
        open_orders_max_count: u64 = "50", Kind::Whole(1, 10_000);
        /// The most orders placed within any one second.
        orders_per_s_max_count: u64 = "50", Kind::Whole(1, 10_000);
        /// The farthest a limit price may be from the market, on the side where it would cost money.
        price_collar_bps: u64 = "500", Kind::Whole(1, 5_000);
        /// The oldest quote that may decide; without a newer one nothing that opens or adds is taken.
        reference_age_max_ms: u64 = "10000", Kind::Whole(100, 86_400_000);
        /// An order equal to one of this strategy's or another's within this time is a duplicate and refused; 0: no such limit.
        duplicate_window_ms: u64 = "50", Kind::Whole(0, 86_400_000);
        /// Loss of one UTC day at which no order that opens or adds is taken any more.
        daily_loss_max_quote: String = "\"1000\"", Kind::Decimal("1", "1000000000");
        /// Fall of the profit from its height at which no order that opens or adds is taken any more; 0: no such limit.
        drawdown_max_quote: String = "\"2000\"", Kind::Decimal("0", "1000000000");
        /// Loss of one strategy on one UTC day that disables it until a person re-arms it; 0: no such limit.
        strategy_daily_loss_max_quote: String = "\"0\"", Kind::Decimal("0", "1000000000");
        /// Fall of one strategy's profit from its height that disables it until a person re-arms it; 0: no such limit.
        strategy_drawdown_max_quote: String = "\"0\"", Kind::Decimal("0", "1000000000");
        /// The most orders that one strategy places within any one second; 0: only the limit of all.
        strategy_orders_per_s_max_count: u64 = "0", Kind::Whole(0, 10_000);
        /// So often may one strategy fill and enter again within `reentry_window_s`; once more disables it until a person
        /// re-arms it. 0: no such limit.
        reentries_max_count: u64 = "1000", Kind::Whole(0, 10_000);
        /// Window of the limit above.
        reentry_window_s: u64 = "60", Kind::Whole(0, 604_800);
        /// The most orders within `count_window_s` that nothing has filled; 0: no such limit.
        unfilled_orders_max_count: u64 = "1000", Kind::Whole(0, 10_000);
        /// The most cancels per hundred orders within `count_window_s`; 0: no such limit.
        cancel_ratio_max_percent: u64 = "0", Kind::Whole(0, 10_000);
        /// The ratio counts from this many orders on.
        cancel_ratio_orders_min_count: u64 = "100", Kind::Whole(1, 10_000);
        /// Window of the limits of unfilled orders and of cancels.
        count_window_s: u64 = "10", Kind::Whole(0, 604_800);
        /// Window of the collar and of the volatility breaker below.
        price_window_s: u64 = "60", Kind::Whole(0, 604_800);
        /// How far above the lowest price of the window a buy, and below the highest a sell, may be; 0: no such limit.
        window_collar_bps: u64 = "1000", Kind::Whole(0, 10_000);
        /// A span of prices within the window that opens the instrument's volatility breaker; 0: no such breaker.
        volatility_bps: u64 = "2000", Kind::Whole(0, 10_000);
        /// This many refused orders within `order_errors_window_s` open the breaker of order errors; 0: no such breaker.
        order_errors_max_count: u64 = "10", Kind::Whole(0, 10_000);
        /// Window of the breaker of order errors.
        order_errors_window_s: u64 = "60", Kind::Whole(0, 604_800);
        /// This many requests without a sure answer within `venue_errors_window_s` open the breaker of venue errors; 0: no
        /// such breaker.
        venue_errors_max_count: u64 = "3", Kind::Whole(0, 10_000);
        /// Window of the breaker of venue errors.
        venue_errors_window_s: u64 = "30", Kind::Whole(0, 604_800);
        /// This many losing trades in a row open the breaker of losses; 0: no such breaker.
        loss_streak_max_count: u64 = "0", Kind::Whole(0, 10_000);
        /// An open breaker of errors or volatility tries one small order after this time; 0: only a person closes it.
        breaker_timeout_s: u64 = "60", Kind::Whole(0, 604_800);
        /// The same for the breakers of losses: streak, day, drawdown; 0: only a person closes them.
        loss_breaker_timeout_s: u64 = "0", Kind::Whole(0, 604_800);
        /// The most that an order that tries out a breaker may be worth.
        breaker_probe_max_quote: String = "\"1000\"", Kind::Decimal("0", "1000000000");
        /// The account stream gone for longer than this: orders that would open or add are cancelled; 0: they stay.
        cancel_on_disconnect_s: u64 = "30", Kind::Whole(0, 604_800);
        /// The farthest the venue's clock may be off, or unknown, before nothing that opens or adds is taken; 0: no such limit.
        clock_offset_max_ms: u64 = "5000", Kind::Whole(0, 86_400_000);
    }
    /// Locks after losing trades. A trade is a round trip: from nothing held to nothing held. A count, time or limit of 0
    /// switches a protection off.
    [protections] RawProtections {
        /// After each trade its instrument rests this long.
        cooldown_s: u64 = "0", Kind::Whole(0, 604_800);
        /// This many trades that ended in a protective stop, on one instrument within the window below, lock it.
        stop_loss_max_count: u64 = "0", Kind::Whole(0, 252);
        /// Window of the limit above.
        stop_loss_window_s: u64 = "3600", Kind::Whole(0, 604_800);
        /// How long it locks.
        stop_loss_lock_s: u64 = "1800", Kind::Whole(0, 604_800);
        /// The sum of closed trades may fall this far from its height within the window below before everything is locked.
        drawdown_max_quote: String = "\"0\"", Kind::Decimal("0", "1000000000");
        /// Window of the limit above.
        drawdown_window_s: u64 = "86400", Kind::Whole(0, 604_800);
        /// How long it locks.
        drawdown_lock_s: u64 = "3600", Kind::Whole(0, 604_800);
        /// An instrument with at least this many trades within the window below must have earned `low_profit_min_quote`.
        low_profit_trades_count: u64 = "0", Kind::Whole(0, 252);
        /// The least that those trades must have earned together.
        low_profit_min_quote: String = "\"0\"", Kind::Decimal("-1000000000", "1000000000");
        /// Window of the limit above.
        low_profit_window_s: u64 = "86400", Kind::Whole(0, 604_800);
        /// How long it locks.
        low_profit_lock_s: u64 = "3600", Kind::Whole(0, 604_800);
    }
    /// The journal, the authority on what was done.
    [journal] RawJournal {
        /// `power`: every order is on the disk before it is sent. `lease`: only a block of order ids is. `process`:
        /// written, not forced to the disk; survives a crash of the program, not of the machine.
        durability: String = "\"power\"", Kind::Word(&["power", "lease", "process"]);
        /// A snapshot of the state is taken after so many records, beside trading, and at the end of a run; the next start
        /// reads the newest one and what came after it. 0: never, each start reads the whole journal.
        snapshot_records_count: u64 = "100000", Kind::Whole(0, 1_000_000_000);
        /// So many segments of 16 MiB stay even where a snapshot stands for them; older ones are removed. What is removed
        /// can no longer be exported or rebuilt into a database.
        keep_segments_count: u64 = "64", Kind::Whole(1, 1_000_000);
    }
    /// The database that shows orders, fills, positions and decisions to people and queries. It follows the journal and can be
    /// built again from it at any time; trading never waits for it.
    [database] RawDatabase {
        /// `sqlite` keeps a file in the data folder. Or an address: "sqlite:///folder/file.sqlite", or
        /// "postgres://user:password@host:5432/name" (better in the variable KEEL__DATABASE__URL than in a file). Paper and
        /// live never share one. Empty: none.
        url: String = "\"sqlite\"", Kind::Text;
        /// The most connections at once.
        connections_max_count: u32 = "4", Kind::Whole(1, 64);
        /// Longest wait for a connection.
        acquire_timeout_ms: u64 = "2000", Kind::Whole(10, 60_000);
        /// Longest wait for another process's lock, in one attempt.
        busy_timeout_ms: u64 = "250", Kind::Whole(1, 60_000);
        /// Lagging behind the journal for longer than this raises an alarm.
        lag_alarm_ms: u64 = "3000", Kind::Whole(100, 3_600_000);
    }
    /// The embedded simulated exchange.
    [simulation] RawSimulation {
        /// Time added before each order reaches the simulated exchange, on top of what the machine needs.
        latency_us: u64 = "0", Kind::Whole(0, 10_000_000);
    }
    /// `launcher backtest`: what is traded, with what, and how the simulated venue fills. Runs of other kinds do not read this.
    [backtest] RawBacktest {
        /// `spot` holds the asset itself; `perpetual` is a linear perpetual: net positions, long or short, profit and fees in
        /// the quote asset, margin.
        instrument: String = "\"spot\"", Kind::Word(&["spot", "perpetual"]);
        /// The asset that prices are in; the rest of a symbol is the base asset.
        quote_asset: String = "\"USDT\"", Kind::Text;
        /// What the account has of the quote asset at the start.
        balance_quote: String = "\"100000\"", Kind::Decimal("0", "1000000000000");
        /// What it has of each base asset at the start; spot only.
        balance_base: String = "\"0\"", Kind::Decimal("0", "1000000000000");
        /// Price step; 0: the last decimal place of the data.
        tick_quote: String = "\"0\"", Kind::Decimal("0", "1000000");
        /// Quantity step; 0: the sixth decimal place, or the last of the data where that is finer.
        lot_base: String = "\"0\"", Kind::Decimal("0", "1000000");
        /// Least value of an order; 0: none.
        notional_min_quote: String = "\"0\"", Kind::Decimal("0", "1000000");
        /// Fee of orders that rested; negative: a rebate.
        maker_fee_bps: String = "\"10\"", Kind::Decimal("-100", "1000");
        /// Fee of orders that took.
        taker_fee_bps: String = "\"10\"", Kind::Decimal("-100", "1000");
        /// Where a market order fills when the market is known by bars: at the `close` of the bar that it was decided on, or
        /// at the `next-open`.
        fill: String = "\"next-open\"", Kind::Word(&["close", "next-open"]);
        /// How much worse than the price takers fill on bars and quotes.
        slippage_bps: u64 = "0", Kind::Whole(0, 5_000);
        /// How much of a bar's volume can be filled; 0: any quantity.
        participation_bps: u64 = "0", Kind::Whole(0, 10_000);
        /// Time from a decision to the venue, and from the venue back; 0: none at all, what is decided on a row has happened
        /// before the next one. A recording takes `simulation.latency_us` and at least 1 ms instead, as paper does.
        latency_us: u64 = "0", Kind::Whole(0, 60_000_000);
        /// The most that is added to each way, from the seed.
        latency_jitter_us: u64 = "0", Kind::Whole(0, 60_000_000);
        /// How the queue in front of resting orders moves where trades or depth are known.
        queue: String = "\"risk-averse\"", Kind::Word(&["risk-averse", "proportional", "front"]);
        /// The most that perpetuals may be worth per unit of equity.
        leverage_max_count: u64 = "1", Kind::Whole(1, 125);
        /// Equity per value of perpetuals at which the venue closes everything.
        maintenance_margin_bps: u64 = "50", Kind::Whole(0, 10_000);
        /// Rows that strategies see before anything may be opened.
        warmup_count: u64 = "0", Kind::Whole(0, 100_000_000);
        /// How often the engine is told the time; recordings: ten times a second.
        timer_s: f64 = "60.0", Kind::Real(0.001, 86400.0);
    }
    /// Trading a recorded session instead of a live market.
    [replay] RawReplay {
        /// The recording (gzip, one frame a line); empty: none. The run ends with it.
        file: String = "\"\"", Kind::Text;
        /// `1` is real time, `N` is N times as fast, `max` is as fast as it goes, in process on a virtual clock.
        speed: String = "\"1\"", Kind::Text;
    }
    /// The orderly stop.
    [stop] RawStop {
        /// Time that the whole stop may take.
        total_ms: u64 = "30000", Kind::Whole(15_000, 600_000);
    }
    /// Looking at the run, and steering it, over HTTP on this machine: a page, a JSON API, metrics for Prometheus.
    [observe] RawObserve {
        /// Where it listens, such as "127.0.0.1:8080"; loopback addresses only, port 0 takes a free one. Empty: not at all.
        /// The tokens are in `api/` of the data folder.
        address: String = "\"\"", Kind::Text;
    }
    /// Starting again by itself after a failure.
    [restart] RawRestart {
        /// Start again after a failure?
        auto: bool = "false", Kind::Flag;
        /// The most restarts of one run of the program. More than 10 failures in a row end it in any case.
        restarts_max_count: u64 = "1000", Kind::Whole(0, 1_000_000);
        /// Wait before the first restart; doubles with each failure in a row, up to an hour.
        delay_s: f64 = "30.0", Kind::Real(0.0, 3600.0);
    }
    /// What is logged where.
    [log] RawLog {
        /// The least that is logged.
        level: String = "\"info\"", Kind::Word(&["error", "warn", "info", "debug", "trace"]);
        /// Format on the terminal; the file is always JSON.
        format: String = "\"human\"", Kind::Word(&["human", "json"]);
        /// Log files kept; one is begun each day.
        files_max_count: u64 = "7", Kind::Whole(1, 1000);
    }
    /// Where `download-data` takes historical data from, and how.
    [history] RawHistory {
        /// Address of the archives instead of the venue's own; empty: the venue's own.
        vision_url: String = "\"\"", Kind::Text;
        /// REST address of spot instead of the venue's own; empty: the venue's own.
        spot_rest_url: String = "\"\"", Kind::Text;
        /// REST address of USD-M futures instead of the venue's own; empty: the venue's own.
        usdm_rest_url: String = "\"\"", Kind::Text;
        /// REST address of COIN-M futures instead of the venue's own; empty: the venue's own.
        coinm_rest_url: String = "\"\"", Kind::Text;
        /// Downloads at the same time.
        parallel_count: usize = "6", Kind::Whole(1, 32);
        /// Silence after which a download is tried again.
        stall_timeout_s: f64 = "20.0", Kind::Real(0.1, 600.0);
        /// Time that closing everything may take at the end.
        close_timeout_s: f64 = "5.0", Kind::Real(0.1, 60.0);
    }
}

/// Finds a key.
#[must_use]
pub fn key(section: &str, name: &str) -> Option<&'static Key> {
    sections().iter().find(|it| it.name == section)?.keys.iter().find(|it| it.name == name)
}

/// The name most like `wrong`, when one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase().replace('-', "_");
    let limit = (wrong.chars().count() / 2).max(2);
    names
        .into_iter()
        .map(|name| (distance(&wrong, &name.to_ascii_lowercase().replace('-', "_")), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits between two words; a swap of neighbours counts as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let differs = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + differs);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_names_its_unit_and_every_key_is_documented() {
        const UNITS: &[&str] = &["_s", "_ms", "_us", "_bps", "_count", "_quote", "_percent", "_base"];
        for section in FIXED {
            assert!(!section.doc.is_empty(), "{}", section.name);
            for key in section.keys {
                assert!(!key.doc.is_empty(), "{}.{} is not documented", section.name, key.name);
                if matches!(key.kind, Kind::Whole(..) | Kind::Real(..) | Kind::Decimal(..)) && key.name != "seed" {
                    assert!(UNITS.iter().any(|unit| key.name.ends_with(unit)), "{}.{}", section.name, key.name);
                }
            }
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_nonsense_finds_none() {
        let names = ["duration_s", "data_dir", "on_exit", "seed"];
        assert_eq!(nearest("durationn_s", names), Some("duration_s"));
        assert_eq!(nearest("on-exit", names), Some("on_exit"));
        assert_eq!(nearest("sede", names), Some("seed"));
        assert_eq!(nearest("completely_else", names), None);
    }
}
