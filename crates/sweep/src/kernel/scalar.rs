//! The twin: one combination, one plain loop over the bars; what every kernel is measured against, number by number.
//!
//! It shares the indicators, the price of a stop and the size of an order with the kernels, and nothing else: no tiles, no
//! bit masks, no spans.

use super::bars::Bars;
use super::rule::{Beginning, Combination, Daily, FillAt, Outcome, Sides, Size, Terms, Test};
use super::run::Stretch;
use super::series::Stream;
use super::tile::quantity;
use super::walk::{exit_price, levels};
use crate::SweepError;

/// A test with series of its own.
struct Live {
    above: Stream,
    below: Stream,
    is_negated: bool,
}

impl Live {
    fn new(test: Test) -> Result<Self, SweepError> {
        Ok(Self { above: Stream::new(test.above)?, below: Stream::new(test.below)?, is_negated: test.is_negated })
    }

    fn next(&mut self, bars: &Bars, at: usize) -> bool {
        (self.above.next(bars, at) > self.below.next(bars, at)) != self.is_negated
    }
}

/// The books of the loop.
#[derive(Default)]
struct Books {
    cash: f64,
    quantity: f64,
    /// Stop and target.
    levels: (f64, f64),
    staked: f64,
    peak: f64,
    fall: f64,
    out: Outcome,
}

impl Books {
    fn mark(&mut self, equity: f64) {
        if equity > self.peak {
            self.peak = equity;
        }
        self.fall = self.fall.min(equity / self.peak);
    }

    fn enter(&mut self, terms: &Terms, price: f64, side: f64, exits: (f64, Option<f64>, f64)) {
        let units = quantity(terms, self.cash, price);
        if units <= 0.0 || self.cash <= 0.0 {
            return;
        }
        self.staked = self.cash;
        self.quantity = side * units;
        self.cash -= self.quantity * price + units * price * terms.fee;
        if side > 0.0 && terms.size == Size::AllIn {
            self.cash = 0.0;
        }
        self.levels = levels(terms, exits, side, price);
        self.out.orders += 1;
    }

    fn leave(&mut self, terms: &Terms, price: f64) {
        self.cash += self.quantity * price - self.quantity.abs() * price * terms.fee;
        self.quantity = 0.0;
        self.out.orders += 1;
        if self.cash <= 0.0 {
            return self.lose_all();
        }
        self.book_trade();
        self.mark(self.cash);
    }

    fn lose_all(&mut self) {
        (self.cash, self.quantity, self.fall) = (0.0, 0.0, 0.0);
        self.book_trade();
    }

    fn book_trade(&mut self) {
        let made = self.cash - self.staked;
        self.out.trades += 1;
        if made > 0.0 {
            self.out.wins += 1;
            self.out.gross_profit += made;
        } else {
            self.out.gross_loss -= made;
        }
    }
}

/// What was decided at the close before.
#[derive(Clone, Copy, Default)]
struct Decided {
    long: bool,
    short: bool,
    long_exit: bool,
    short_exit: bool,
    /// Value of the series of stops.
    stop_at: Option<f64>,
}

fn trade(
    books: &mut Books,
    terms: &Terms,
    decided: Decided,
    price: f64,
    (stop, target, can_reverse): (f64, f64, bool),
) {
    let exits = (stop, decided.stop_at, target);
    let (buy, sell) = (price * (1.0 + terms.slippage), price * (1.0 - terms.slippage));
    let was_held = books.quantity != 0.0;
    if books.quantity > 0.0 && decided.long_exit {
        books.leave(terms, sell);
    } else if books.quantity < 0.0 && decided.short_exit {
        books.leave(terms, buy);
    }
    if was_held && books.quantity == 0.0 && !can_reverse {
        return;
    }
    if books.quantity == 0.0 && decided.long {
        books.enter(terms, buy, 1.0, exits);
    } else if books.quantity == 0.0 && decided.short && terms.sides == Sides::LongShort {
        books.enter(terms, sell, -1.0, exits);
    }
}

/// One combination over a stretch of bars.
///
/// # Errors
/// A combination or terms that cannot be carried out, or a stretch outside the bars.
#[allow(clippy::indexing_slicing, reason = "the stretch was checked against the bars")]
pub fn run(bars: &Bars, stretch: Stretch, combination: &Combination, terms: &Terms) -> Result<Outcome, SweepError> {
    terms.check()?;
    combination.check()?;
    stretch.check(bars)?;
    let signals = combination.rule.signals();
    let mut tests = [
        Live::new(signals.long)?,
        Live::new(signals.short)?,
        Live::new(signals.long_exit)?,
        Live::new(signals.short_exit)?,
    ];
    let first = signals.first.max(stretch.trade_from - stretch.from);
    let exits = (combination.stop, combination.target, signals.can_reverse);
    let mut stop_at = combination.stop_at.map(Stream::new).transpose()?;
    let mut books = Books { cash: terms.cash, peak: terms.cash, fall: 1.0, ..Books::default() };
    let (mut was_long, mut was_short, mut day_equity) = (false, false, terms.cash);
    let (mut decided, mut daily) = (Decided::default(), Daily::default());
    let inside = bars.slice(stretch.from, stretch.to)?;
    for at in 0..inside.len() {
        let [long, short, long_exit, short_exit] = [0, 1, 2, 3].map(|which| tests[which].next(&inside, at));
        if terms.fill == FillAt::NextOpen && books.fall > 0.0 {
            trade(&mut books, terms, decided, inside.open()[at], exits);
        }
        let bar = (inside.open()[at], inside.high()[at], inside.low()[at]);
        if books.quantity != 0.0
            && let Some(price) = exit_price(terms, books.levels, books.quantity.signum(), bar)
        {
            books.leave(terms, price);
        }
        let counts = match terms.beginning {
            Beginning::AtOnce => at >= first,
            Beginning::AwaitCross => at > first,
        };
        let (long_edge, short_edge) = (counts && long && !was_long, counts && short && !was_short);
        let stop_at = stop_at.as_mut().map(|stream| stream.next(&inside, at));
        decided = Decided { long: long_edge, short: short_edge, long_exit, short_exit, stop_at };
        let is_known = at >= first || terms.beginning == Beginning::AwaitCross;
        (was_long, was_short) = (is_known && long, is_known && short);
        if terms.fill == FillAt::Close && books.fall > 0.0 {
            trade(&mut books, terms, decided, inside.close()[at], exits);
        }
        let equity = books.cash + books.quantity * inside.close()[at];
        if books.quantity != 0.0 && equity <= 0.0 {
            // The closing order of whoever lent the rest.
            books.out.orders += 1;
            books.lose_all();
        } else if books.fall > 0.0 {
            books.mark(equity);
        }
        let equity = books.cash + books.quantity * inside.close()[at];
        if terms.has_daily && at + stretch.from >= stretch.trade_from && inside.is_day_end(at) {
            if day_equity > 0.0 {
                daily.add(equity / day_equity - 1.0);
            }
            day_equity = equity;
        }
    }
    let last = inside.close()[inside.len() - 1];
    books.out.total_return = (books.cash + books.quantity * last) / terms.cash - 1.0;
    books.out.max_drawdown = books.fall - 1.0;
    books.out.daily = daily;
    Ok(books.out)
}
