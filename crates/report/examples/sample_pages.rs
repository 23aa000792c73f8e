//! Writes pages for the browser test (`tests/browser`) into the folder that is named: a whole year of trades on two markets,
//! names that try to be markup, a bare series of returns, a run without trades, a total loss. The same bytes every time.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, reason = "an example")]

use keel_report::{
    Bar, DailyReturns, Direction, EquityPoint, Fill, Line, OpenPosition, Prices, Report, Run, Trade, plot_html,
    round_trips, to_html,
};
use std::path::Path;

const MINUTE_NS: i64 = 60_000_000_000;
const START_NS: i64 = 1_704_067_200_000_000_000;
const MINUTES: i64 = 366 * 24 * 60;

/// Numbers that look random: SplitMix64.
struct Source(u64);

impl Source {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal: mean 0, deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

fn market(seed: u64, start: f64, step: f64) -> Vec<Bar> {
    let mut source = Source(seed);
    let mut close = start;
    let bar = |at: i64| {
        let open = close;
        close = (open * (1.0 + source.normal() * step + 0.000_000_4) * 100.0).round() / 100.0;
        let (top, low) = (open.max(close), open.min(close));
        let (high, low) = (top * (1.0 + source.next() * step), low * (1.0 - source.next() * step));
        Bar { ts_ns: START_NS + (at + 1) * MINUTE_NS, open, high, low, close }
    };
    (0..MINUTES).map(bar).collect()
}

fn average(bars: &[Bar], days: f64, name: &str) -> Line {
    let weight = 2.0 / (days * 1440.0 + 1.0);
    let mut value = bars[0].close;
    let points = bars.iter().map(|bar| {
        value += weight * (bar.close - value);
        (bar.ts_ns, value)
    });
    Line { name: name.into(), is_overlay: true, points: points.collect() }
}

/// A cross of averages with fees, and the equity each hour.
fn whole_run(names: [&str; 2], reasons: [&str; 3]) -> Run {
    let mut fills = Vec::new();
    let mut prices = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let bars = market(7 + at as u64, [42_000.0, 2_300.0][at], [0.0007, 0.0009][at]);
        let (fast, slow) = (average(&bars, 0.6, "EMA 14 h"), average(&bars, 2.2, "EMA 53 h"));
        let mut held = 0.0_f64;
        let size = [0.2, 3.0][at];
        for (index, bar) in bars.iter().enumerate().skip(3000) {
            let wanted = if fast.points[index].1 >= slow.points[index].1 { size } else { -size };
            if (wanted - held).abs() > 1e-9 {
                let quantity = (wanted - held).abs();
                let fee = quantity * bar.close * 0.0004;
                let is_buy = wanted > held;
                let instrument = (*name).to_owned();
                fills.push(Fill { instrument, ts_ns: bar.ts_ns, is_buy, price: bar.close, quantity, fee });
                held = wanted;
            }
        }
        let gap = fast.points.iter().zip(&slow.points).map(|(a, b)| (a.0, a.1 / b.1 - 1.0));
        let gap = Line { name: "EMA gap".into(), is_overlay: false, points: gap.collect() };
        prices.push(Prices { instrument: (*name).to_owned(), bars, lines: vec![fast, slow, gap] });
    }
    fills.sort_by_key(|fill| fill.ts_ns);
    let (mut trades, open) = round_trips(&fills);
    for (at, trade) in trades.iter_mut().enumerate() {
        trade.exit_reason = reasons[at % 3].to_owned();
    }
    let equity = equity(&trades, &open, &prices, 100_000.0);
    let facts = [("Strategy", "ema-cross"), ("Data", "synthetic, one-minute bars"), ("Fees", "0.04 %"), ("Seed", "7")];
    Run {
        title: format!("ema-cross on {} and {}", names[0], names[1]),
        kind: "backtest".into(),
        currency: "USDT".into(),
        facts: facts.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        notes: vec!["The market is synthetic: what was won or lost on it means nothing.".into()],
        start_ns: START_NS,
        end_ns: START_NS + MINUTES * MINUTE_NS,
        start_equity: 100_000.0,
        equity,
        trades,
        open,
        orders: Some(fills.len() as u64),
        fills: Some(fills.len() as u64),
        fees: Some(fills.iter().map(|fill| fill.fee).sum()),
        volume: Some(fills.iter().map(|fill| fill.price * fill.quantity).sum()),
        prices,
    }
}

fn equity(trades: &[Trade], open: &[OpenPosition], prices: &[Prices], start: f64) -> Vec<EquityPoint> {
    let price = |name: &str, minute: i64| {
        let market = prices.iter().find(|it| it.instrument == name).unwrap();
        market.bars[usize::try_from(minute).unwrap()].close
    };
    let minute_of = |ns: i64| (ns - START_NS) / MINUTE_NS - 1;
    let hour = |at: i64| {
        let (minute, now) = (at * 60 + 59, START_NS + (at * 60 + 60) * MINUTE_NS);
        let mut equity = start;
        for trade in trades.iter().filter(|trade| trade.entry_ns <= now) {
            let open = trade.direction.sign() * trade.quantity * (price(&trade.instrument, minute) - trade.entry_price);
            equity += if trade.exit_ns <= now { trade.profit } else { open - trade.fees / 2.0 };
        }
        for open in open.iter().filter(|open| minute_of(open.entry_ns) <= minute) {
            let moved = price(&open.instrument, minute) - open.entry_price;
            equity += open.direction.sign() * open.quantity * moved;
        }
        EquityPoint { ts_ns: now, equity }
    };
    (0..MINUTES / 60).map(hour).collect()
}

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "target/browser".to_owned());
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: String| {
        std::fs::write(Path::new(&folder).join(name), &text).unwrap();
        println!("{name} {} bytes", text.len());
    };
    let run = whole_run(["BTCUSDT", "ETHUSDT"], ["signal", "stop-loss", "take-profit"]);
    let report = Report::of_run(run.clone(), 365);
    write("run.html", to_html(&report));
    write("plot.html", plot_html(&report));
    let hostile = whole_run(
        ["<script>window.broken=1</script>", "\"><img src=x onerror='window.broken=1'>"],
        ["</script><script>window.broken=1</script>", "<!--", "&amp;' onmouseover=\"window.broken=1"],
    );
    write("hostile.html", to_html(&Report::of_run(hostile, 365)));
    let mut source = Source(3);
    let values: Vec<f64> = (0..900).map(|_| source.normal() * 0.012 + 0.0009).collect();
    let returns = DailyReturns::from_values(keel_report::calendar::date_of(19_700), values).unwrap();
    write("returns.html", to_html(&Report::of_returns("returns.csv".into(), returns, 365)));
    let still = Run { trades: vec![], open: vec![], title: "Nothing happened".into(), ..run.clone() };
    let flat = |point: &EquityPoint| EquityPoint { equity: 100_000.0, ..*point };
    let still = Run { equity: still.equity.iter().map(flat).collect(), ..still };
    write("still.html", to_html(&Report::of_run(still, 365)));
    write("ruined.html", to_html(&Report::of_run(ruined(&run), 365)));
    write("empty.html", to_html(&Report::of_run(Run { title: "Empty".into(), ..Run::default() }, 365)));
}

/// Three trades that lose everything within two days.
fn ruined(run: &Run) -> Run {
    let trade = |at: i64, profit: f64| Trade {
        instrument: "BTCUSDT".into(),
        direction: Direction::Long,
        entry_ns: START_NS + at * MINUTE_NS,
        exit_ns: START_NS + (at + 600) * MINUTE_NS,
        entry_price: 42_000.0,
        exit_price: 42_000.0 + profit,
        quantity: 1.0,
        profit,
        fees: 10.0,
        exit_reason: "liquidation".into(),
    };
    let trades = vec![trade(10, -30_000.0), trade(900, -30_000.0), trade(1800, -40_000.0)];
    let mut left = 100_000.0;
    let equity = trades.iter().map(|trade| {
        left += trade.profit;
        EquityPoint { ts_ns: trade.exit_ns, equity: left }
    });
    Run {
        title: "A total loss".into(),
        end_ns: START_NS + 3000 * MINUTE_NS,
        equity: equity.collect(),
        trades,
        open: vec![],
        prices: vec![],
        fees: None,
        volume: None,
        ..run.clone()
    }
}
