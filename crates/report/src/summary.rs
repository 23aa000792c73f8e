//! The figures of a whole run, in sections: freqtrade's SUMMARY METRICS, trades, drawdown, days, and quantstats' figures of
//! the daily returns. Keys are unique over all sections and never change their meaning.

use crate::calendar::Daily;
use crate::daily::DailyStatistics;
use crate::drawdowns::Drawdown;
use crate::exposure::Exposure;
use crate::figure::{Figure, Unit};
use crate::moments::{count, mean, ratio};
use crate::run::{Direction, Run, Trade, seconds};
use crate::trades::{ClosedTrade, TradeStatistics};

/// Figures that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// What stands above them.
    pub title: &'static str,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// What the sections are made of.
pub(crate) struct Parts<'a> {
    pub(crate) run: &'a Run,
    pub(crate) daily: &'a Daily,
    pub(crate) drawdowns: &'a [Drawdown],
    pub(crate) exposure: &'a Exposure,
    pub(crate) periods: u32,
}

const fn figure(
    key: &'static str,
    label: &'static str,
    unit: Unit,
    value: Option<f64>,
    convention: &'static str,
) -> Figure {
    Figure::new(key, label, unit, value, convention)
}

#[allow(clippy::cast_precision_loss, reason = "counts")]
fn number(count: usize) -> Option<f64> {
    Some(count as f64)
}

/// All sections of a run.
pub(crate) fn sections(parts: &Parts<'_>) -> Vec<Section> {
    let run = parts.run;
    let statistics = DailyStatistics::new(parts.daily.returns.values(), parts.periods);
    let returns = statistics.figures().iter().copied().map(|figure| match figure.key {
        // The plain name belongs to the trades' figure.
        "profit_factor" => Figure { key: "profit_factor_days", ..figure },
        _ => figure,
    });
    vec![
        Section { title: "Summary", figures: summary(parts) },
        Section { title: "Trades", figures: trades(run) },
        Section { title: "Drawdown", figures: drawdown(parts) },
        Section { title: "Days", figures: days(parts) },
        Section { title: "Daily returns", figures: returns.collect() },
    ]
}

fn final_equity(run: &Run) -> f64 {
    run.equity.iter().rev().map(|point| point.equity).find(|equity| equity.is_finite()).unwrap_or(run.start_equity)
}

fn length_days(run: &Run) -> f64 {
    seconds(run.end_ns.saturating_sub(run.start_ns)) / 86_400.0
}

fn summary(parts: &Parts<'_>) -> Vec<Figure> {
    let run = parts.run;
    let last = final_equity(run);
    let profit = last - run.start_equity;
    let days = length_days(run);
    let has_length = run.end_ns > run.start_ns;
    // Nobody's minute is a day.
    let a_day = |value: f64| ratio(value, days).filter(|_| days >= 1.0);
    let time = |ns: i64| Some(seconds(ns)).filter(|_| has_length);
    let money = |key, label, value, convention| figure(key, label, Unit::Money, value, convention);
    let share = |key, label, value, convention| figure(key, label, Unit::Share, value, convention);
    let count_of = |count: Option<u64>| count.and_then(|count| usize::try_from(count).ok()).and_then(number);
    let mut figures = vec![
        figure("from", "From", Unit::Time, time(run.start_ns), "first event, UTC"),
        figure("to", "To", Unit::Time, time(run.end_ns), "last event, UTC"),
        figure("duration_s", "Duration", Unit::Seconds, Some(days * 86_400.0).filter(|_| has_length), "to − from"),
        money(
            "start_balance",
            "Start balance",
            Some(run.start_equity).filter(|it| *it > 0.0),
            "equity before the first event",
        ),
        money(
            "final_equity",
            "Final equity",
            Some(last).filter(|_| run.start_equity > 0.0),
            "equity at the end, open positions at the last price",
        ),
        money("absolute_profit", "Absolute profit", Some(profit), "final − start"),
        share("total_profit", "Total profit", ratio(profit, run.start_equity), "final/start − 1"),
        money("avg_daily_profit", "Average daily profit", a_day(profit), "absolute profit/days, from one day on"),
        figure("orders", "Orders", Unit::Count, count_of(run.orders), "sent to the venue"),
        figure("fills", "Fills", Unit::Count, count_of(run.fills), "booked"),
        figure(
            "trades_per_day",
            "Trades a day",
            Unit::Number,
            number(run.trades.len()).and_then(a_day),
            "closed trades/days, from one day on",
        ),
        figure("open_positions", "Open positions", Unit::Count, number(run.open.len()), "at the end"),
    ];
    figures.extend(activity(parts));
    figures
}

/// How much was traded, what it cost, and how much of the account was in the market.
fn activity(parts: &Parts<'_>) -> Vec<Figure> {
    let run = parts.run;
    let known_volume = || {
        let closed: f64 = run.trades.iter().map(|trade| trade.quantity * (trade.entry_price + trade.exit_price)).sum();
        closed + run.open.iter().map(|open| open.quantity * open.entry_price).sum::<f64>()
    };
    let volume: f64 = run.volume.unwrap_or_else(known_volume);
    let fees = run.fees.unwrap_or_else(|| run.trades.iter().map(|trade| trade.fees).sum());
    let equity: Vec<f64> = run.equity.iter().map(|point| point.equity).filter(|it| it.is_finite()).collect();
    let gross: f64 = run.trades.iter().map(|trade| trade.profit + trade.fees).filter(|it| *it > 0.0).sum();
    let stakes: Vec<f64> = run.trades.iter().map(Trade::stake).collect();
    let money = |key, label, value, convention| figure(key, label, Unit::Money, value, convention);
    let share = |key, label, value, convention| figure(key, label, Unit::Share, value, convention);
    vec![
        money("avg_stake", "Average stake", mean(&stakes), "mean of quantity·entry price"),
        money("volume", "Trade volume", Some(volume + 0.0), "Σ quantity·price of all fills"),
        figure(
            "turnover",
            "Turnover",
            Unit::Number,
            mean(&equity).filter(|_| run.start_equity > 0.0).and_then(|of| ratio(volume, of)),
            "volume/mean equity",
        ),
        money("fees", "Fees", Some(fees + 0.0), "Σ fees, rebates negative"),
        share(
            "fee_share",
            "Fees of gross profit",
            ratio(fees, gross).filter(|_| gross > 0.0),
            "Σ fees/Σ profit of winners before fees",
        ),
        share(
            "market_change",
            "Market change",
            market_change(run),
            "mean over instruments of last close/first open − 1",
        ),
        share("exposure_time", "Time in the market", parts.exposure.time_share, "share of the time with a position"),
        share(
            "exposure_avg",
            "Average exposure",
            parts.exposure.average,
            "mean over time of abs(net position)/equity, at entry prices",
        ),
        share(
            "exposure_max",
            "Largest exposure",
            parts.exposure.largest,
            "max of abs(net position)/equity, at entry prices",
        ),
    ]
}

fn market_change(run: &Run) -> Option<f64> {
    let change = |prices: &crate::run::Prices| {
        let (first, last) = (prices.bars.first()?, prices.bars.last()?);
        Some(ratio(last.close, first.open)? - 1.0)
    };
    mean(&run.prices.iter().filter_map(change).collect::<Vec<_>>())
}

fn trades(run: &Run) -> Vec<Figure> {
    let closed = run.trades.iter().map(|trade| ClosedTrade {
        profit: trade.profit,
        profit_ratio: trade.profit_ratio(),
        open_s: trade.open_s(),
    });
    let closed: Vec<ClosedTrade> = closed.collect();
    let length_s = seconds(run.end_ns.saturating_sub(run.start_ns));
    let statistics = TradeStatistics::of_run(&closed, run.start_equity, length_s);
    let mut figures = statistics.figures().to_vec();
    let of = |wanted: Direction| run.trades.iter().filter(move |trade| trade.direction == wanted);
    let profit_of = |wanted: Direction| {
        let mut trades = of(wanted).map(|trade| trade.profit).peekable();
        trades.peek().is_some().then(|| trades.sum())
    };
    let lengths = |keep: fn(f64) -> bool| -> Vec<f64> {
        run.trades.iter().filter(|trade| keep(trade.profit)).map(Trade::open_s).collect()
    };
    let (won, lost) = (lengths(|profit| profit > 0.0), lengths(|profit| profit < 0.0));
    let least = |values: &[f64]| values.iter().copied().reduce(f64::min);
    let most = |values: &[f64]| values.iter().copied().reduce(f64::max);
    let number_of = |key, label, value, convention| figure(key, label, Unit::Count, value, convention);
    let length = |key, label, value, convention| figure(key, label, Unit::Seconds, value, convention);
    let money = |key, label, value, convention| figure(key, label, Unit::Money, value, convention);
    figures.extend([
        number_of("wins", "Winning trades", number(won.len()), "profit > 0"),
        number_of("draws", "Draws", number(run.trades.len() - won.len() - lost.len()), "profit = 0"),
        number_of("losses", "Losing trades", number(lost.len()), "profit < 0"),
        number_of("long_trades", "Long trades", number(of(Direction::Long).count()), "bought first"),
        number_of("short_trades", "Short trades", number(of(Direction::Short).count()), "sold first"),
        money("long_profit", "Profit of longs", profit_of(Direction::Long), "Σ profit after fees"),
        money("short_profit", "Profit of shorts", profit_of(Direction::Short), "Σ profit after fees"),
        number_of(
            "wins_in_a_row",
            "Wins in a row",
            longest(&run.trades, |profit| profit > 0.0),
            "longest run of profit > 0",
        ),
        number_of(
            "losses_in_a_row",
            "Losses in a row",
            longest(&run.trades, |profit| profit < 0.0),
            "longest run of profit < 0",
        ),
        length("winner_open_min_s", "Shortest winner", least(&won), "min of exit − entry, profit > 0"),
        length("winner_open_avg_s", "Average winner", mean(&won), "mean of exit − entry, profit > 0"),
        length("winner_open_max_s", "Longest winner", most(&won), "max of exit − entry, profit > 0"),
        length("loser_open_min_s", "Shortest loser", least(&lost), "min of exit − entry, profit < 0"),
        length("loser_open_avg_s", "Average loser", mean(&lost), "mean of exit − entry, profit < 0"),
        length("loser_open_max_s", "Longest loser", most(&lost), "max of exit − entry, profit < 0"),
    ]);
    figures
}

/// The longest run of trades for which `holds`.
fn longest(trades: &[Trade], holds: impl Fn(f64) -> bool) -> Option<f64> {
    let (mut run, mut longest) = (0_usize, 0_usize);
    for trade in trades {
        run = if holds(trade.profit) { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    number(longest)
}

fn drawdown(parts: &Parts<'_>) -> Vec<Figure> {
    let run = parts.run;
    let deepest = parts.drawdowns.iter().min_by(|a, b| a.depth().total_cmp(&b.depth()));
    let largest = parts.drawdowns.iter().max_by(|a, b| a.loss().total_cmp(&b.loss()));
    let with_start = |value: f64| Some(value).filter(|_| run.start_equity > 0.0);
    let longest = parts.drawdowns.iter().map(|it| it.duration_s).reduce(f64::max);
    let time = |ns: Option<i64>| ns.map(seconds);
    let nothing_lost = (run.start_equity > 0.0 && !run.equity.is_empty() && deepest.is_none()).then_some(0.0);
    let of = |pick: fn(f64, f64) -> f64| {
        run.equity.iter().map(|point| point.equity).filter(|it| it.is_finite()).fold(run.start_equity, pick)
    };
    let money = |key, label, value, convention| figure(key, label, Unit::Money, value, convention);
    let at = |key, label, value, convention| figure(key, label, Unit::Time, value, convention);
    vec![
        figure(
            "max_drawdown_account",
            "Deepest drawdown",
            Unit::Share,
            deepest.map(Drawdown::depth).or(nothing_lost),
            "min(E/cummax(E) − 1) over every point of the equity",
        ),
        at("drawdown_start", "Its peak", time(deepest.map(|it| it.peak_ns)), "last time at the peak, UTC"),
        at("drawdown_end", "Its lowest point", time(deepest.map(|it| it.trough_ns)), "UTC"),
        at(
            "drawdown_recovered",
            "Its recovery",
            time(deepest.and_then(|it| it.recovered_ns)),
            "back at the peak, UTC; n/a: not by the end",
        ),
        figure(
            "drawdown_duration_s",
            "Its duration",
            Unit::Seconds,
            deepest.map(|it| it.duration_s),
            "from the peak to the recovery or the end",
        ),
        money(
            "profit_at_drawdown_start",
            "Profit at its peak",
            deepest.map(|it| it.peak - run.start_equity),
            "peak − start balance",
        ),
        money(
            "profit_at_drawdown_end",
            "Profit at its lowest",
            deepest.map(|it| it.trough - run.start_equity),
            "lowest − start balance",
        ),
        money(
            "drawdown_abs",
            "Largest loss from a peak",
            largest.map(Drawdown::loss).or(nothing_lost),
            "max(cummax(E) − E)",
        ),
        figure(
            "longest_drawdown_s",
            "Longest drawdown",
            Unit::Seconds,
            longest,
            "from a peak to its recovery or the end",
        ),
        money("min_balance", "Lowest balance", with_start(of(f64::min)), "min(E), start included"),
        money("max_balance", "Highest balance", with_start(of(f64::max)), "max(E), start included"),
    ]
}

fn days(parts: &Parts<'_>) -> Vec<Figure> {
    let returns = parts.daily.returns.values();
    let mut before = parts.run.start_equity;
    let profits: Vec<f64> = returns
        .iter()
        .map(|value| {
            let profit = before * value;
            before += profit;
            profit
        })
        .collect();
    let number_of = |keep: fn(&&f64) -> bool| number(returns.iter().filter(keep).count());
    let money = |key, label, value, convention| figure(key, label, Unit::Money, value, convention);
    vec![
        figure("days_won", "Days won", Unit::Count, number_of(|r| **r > 0.0), "r > 0"),
        figure("days_even", "Days without a result", Unit::Count, number_of(|r| **r == 0.0), "r = 0"),
        figure("days_lost", "Days lost", Unit::Count, number_of(|r| **r < 0.0), "r < 0"),
        money(
            "best_day_profit",
            "Best day",
            profits.iter().copied().reduce(f64::max),
            "max of a day's change of equity",
        ),
        money(
            "worst_day_profit",
            "Worst day",
            profits.iter().copied().reduce(f64::min),
            "min of a day's change of equity",
        ),
        money(
            "mean_day_profit",
            "Mean day",
            ratio(profits.iter().sum(), count(&profits)),
            "mean of a day's change of equity",
        ),
    ]
}
