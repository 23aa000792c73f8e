//! The same decisions when the future is cut off, and those that are not.

use crate::desk::*;
use keel_backtest::lookahead::{check, moments};
use keel_backtest::{BacktestError, Rows, Series};
use keel_model::{Bar, InstrumentKind, OrderIntent, OrderPurpose, Side};
use keel_strategy::{Context, Strategy, Subscription};
use std::sync::{Arc, Mutex};

/// Remembers the closes of every run in a place that outlives it, and buys before a rise that an earlier run has seen.
#[derive(Debug)]
struct Clairvoyant {
    memory: Arc<Mutex<Vec<f64>>>,
    seen: usize,
}

impl Strategy for Clairvoyant {
    fn name(&self) -> &str {
        "clairvoyant"
    }

    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription::bars(ID, MINUTE)]
    }

    fn on_bar(&mut self, ctx: &mut Context<'_>, bar: &Bar) {
        let mut memory = self.memory.lock().unwrap();
        let close = bar.close.to_f64();
        if memory.len() == self.seen {
            memory.push(close);
        }
        self.seen += 1;
        let rises = memory.get(self.seen).is_some_and(|next| *next > close);
        let is_flat = ctx.position(ID).is_flat();
        if rises == is_flat {
            let side = if rises { Side::Buy } else { Side::Sell };
            ctx.submit(OrderIntent::market(ID, side, "1.000".parse().unwrap(), OrderPurpose::Entry));
        }
    }
}

#[test]
fn an_honest_strategy_decides_the_same_whatever_comes() {
    let (bars, ticks) = (walk(4, 900), quotes(4, 900));
    let job = config(InstrumentKind::LinearPerpetual);
    let series = [Series { instrument: ID, rows: Rows::Bars(&bars) }];
    let cuts = check(&job, &series, 5, || Ok::<_, BacktestError>(flip(&[]))).unwrap();
    assert_eq!(cuts.len(), 7, "five cuts, and the whole twice");
    assert!(cuts.iter().all(|cut| cut.difference.is_none()), "{cuts:?}");
    assert!(cuts.is_sorted_by_key(|cut| cut.decisions) && cuts[0].decisions > 0);
    let series = [Series { instrument: ID, rows: Rows::Quotes(&ticks) }];
    let cuts = check(&job, &series, 3, || Ok::<_, BacktestError>(flip(&[("input", "quotes")]))).unwrap();
    assert!(cuts.iter().all(|cut| cut.difference.is_none()));
}

#[test]
fn a_strategy_that_remembers_the_future_of_an_earlier_run_is_caught() {
    let bars = walk(4, 900);
    let memory = Arc::new(Mutex::new(Vec::new()));
    let series = [Series { instrument: ID, rows: Rows::Bars(&bars) }];
    let make = || -> Result<Vec<Box<dyn Strategy>>, BacktestError> {
        Ok(vec![Box::new(Clairvoyant { memory: Arc::clone(&memory), seen: 0 })])
    };
    let cuts = check(&config(InstrumentKind::LinearPerpetual), &series, 4, make).unwrap();
    let difference = cuts[0].difference.unwrap();
    assert_eq!((difference.number, difference.cut.is_some()), (0, false), "{difference:?}");
    assert!(cuts[4].difference.is_some(), "the same data twice, and not the same answer");
}

#[test]
fn moments_are_within_the_data_and_the_whole_comes_twice() {
    let bars = walk(1, 10);
    let series = [Series { instrument: ID, rows: Rows::Bars(&bars) }];
    let minutes =
        |cuts| -> Vec<u64> { moments(&series, cuts).iter().map(|at| (at - START_NS) / 60_000_000_000).collect() };
    assert_eq!(minutes(4), [2, 4, 6, 8, 10, 10]);
    assert_eq!(minutes(100), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10], "no more cuts than rows");
    assert!(moments(&[], 3).is_empty());
}
