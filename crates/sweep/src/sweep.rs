//! A sweep from its first trial to its report, as a state that can be written down between any two batches.
//!
//! Invariants: the state depends on the plan and the outcomes alone; a sweep that goes on from a written state ends with the
//! same trials, in the same order, as one that was never interrupted; a state is only taken up by the plan that made it.

use crate::SweepError;
use crate::deflated::{Deflated, Spread, deflate};
use crate::figures::{Figures, Objective};
use crate::kernel::rule::Outcome;
use crate::kernel::run::Stretch;
use crate::search::{Method, Search};
use crate::space::Space;
use crate::split::Window;
use serde::{Deserialize, Serialize};

/// Layout of a written state; another one is not read.
const STATE_VERSION: u32 = 1;

/// How trustworthy an outcome is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A kernel in double precision.
    Fast,
    /// The event engine.
    Exact,
}

impl Level {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Exact => "exact",
        }
    }
}

/// One set of parameters that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The point of the space.
    pub point: u64,
    /// What it came to on the train part.
    pub outcome: Outcome,
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// What is varied.
    pub space: Space,
    /// How points are chosen.
    pub method: Method,
    /// What is looked for.
    pub objective: Objective,
    /// What outcomes come from.
    pub level: Level,
    /// Train and test parts.
    pub windows: Vec<Window>,
    /// Everything else that outcomes depend on (data, costs, configuration), name and value: a state made with others is
    /// refused.
    pub context: Vec<(String, String)>,
    /// Trials of a batch; a state can be written after each.
    pub batch: usize,
}

impl Plan {
    /// Everything that trials depend on, name and value.
    #[must_use]
    pub fn identity(&self) -> Vec<(String, String)> {
        let mut identity = vec![
            ("strategy".to_owned(), self.space.strategy().name.to_owned()),
            ("level".to_owned(), self.level.name().to_owned()),
            ("search".to_owned(), format!("{:?}", self.method)),
            ("windows".to_owned(), format!("{:?}", self.windows)),
        ];
        for dimension in self.space.dimensions() {
            identity.push((dimension.name.clone(), dimension.values.join(",")));
        }
        // What is looked for steers this search only.
        if matches!(self.method, Method::Tpe { .. }) {
            identity.push(("objective".to_owned(), self.objective.text().to_owned()));
        }
        identity.extend(self.context.iter().cloned());
        identity
    }
}

/// What is written down.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    version: u32,
    identity: Vec<(String, String)>,
    /// Trials of each window so far.
    trials: Vec<Vec<Trial>>,
    /// What the best of each window came to on its test part.
    tests: Vec<Option<Outcome>>,
}

/// Sets of parameters to be tried on one stretch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Points of the space.
    pub points: Vec<u64>,
    /// Over which bars.
    pub stretch: Stretch,
}

/// A sweep under way.
#[derive(Debug)]
pub struct Sweep {
    plan: Plan,
    search: Search,
    state: State,
}

impl Sweep {
    /// Begins anew.
    ///
    /// # Errors
    /// An empty or too large search.
    pub fn new(plan: Plan) -> Result<Self, SweepError> {
        let search = Search::new(plan.method, &plan.space)?;
        let state = State {
            version: STATE_VERSION,
            identity: plan.identity(),
            trials: vec![Vec::new(); plan.windows.len()],
            tests: vec![None; plan.windows.len()],
        };
        Ok(Self { plan, search, state })
    }

    /// Goes on from what [`Sweep::state`] wrote.
    ///
    /// # Errors
    /// Bytes that are no state, or the state of another sweep; the text names the first difference.
    pub fn resume(plan: Plan, bytes: &[u8]) -> Result<Self, String> {
        let mut sweep = Self::new(plan).map_err(|error| error.to_string())?;
        let state: State =
            postcard::from_bytes(bytes).map_err(|error| format!("it is no state of a sweep ({error})"))?;
        if state.version != STATE_VERSION {
            return Err(format!("it was written by another version ({}, this is {STATE_VERSION})", state.version));
        }
        for (name, value) in &sweep.state.identity {
            let was = state.identity.iter().find(|(known, _)| known == name).map_or("nothing", |(_, was)| was);
            if was != value {
                return Err(format!("it belongs to a sweep with {name} = {was}; this one has {value}"));
            }
        }
        if state.identity.len() != sweep.state.identity.len() || state.trials.len() != sweep.state.trials.len() {
            return Err("it belongs to a sweep over other parameters".to_owned());
        }
        sweep.state = state;
        Ok(sweep)
    }

    /// Everything so far, for [`Sweep::resume`].
    ///
    /// # Errors
    /// When it cannot be written, which only a lack of memory explains.
    pub fn state(&self) -> Result<Vec<u8>, SweepError> {
        postcard::to_allocvec(&self.state).map_err(|error| SweepError::BadTerms(error.to_string()))
    }

    /// The plan.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Points of a grid that contradict themselves.
    #[must_use]
    pub const fn impossible(&self) -> u64 {
        self.search.impossible()
    }

    /// Trials done and to be done, over all windows.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        let done = self.state.trials.iter().map(|trials| trials.len() as u64).sum();
        (done, self.search.target() * self.plan.windows.len() as u64)
    }

    /// Trials of a window, in the order in which they were made.
    #[must_use]
    pub fn trials(&self, window: usize) -> &[Trial] {
        self.state.trials.get(window).map_or(&[], Vec::as_slice)
    }

    /// What the best of a window came to on its test part, once that is known.
    #[must_use]
    pub fn test(&self, window: usize) -> Option<&Outcome> {
        self.state.tests.get(window)?.as_ref()
    }

    /// What is to be tried next: a batch of a window's search, then its best on the test part, then the next window. `None`
    /// when everything is done. Asked again without [`Sweep::tell`], it says the same.
    ///
    /// # Errors
    /// A strategy that cannot be made.
    pub fn next(&self) -> Result<Option<(usize, Batch)>, SweepError> {
        for (at, window) in self.plan.windows.iter().enumerate() {
            let trials = self.trials(at);
            let scored: Vec<_> =
                trials.iter().map(|trial| (trial.point, self.score(&Figures::of(&trial.outcome)))).collect();
            let points = self.search.next(&self.plan.space, &scored, self.plan.batch)?;
            if !points.is_empty() {
                return Ok(Some((at, Batch { points, stretch: window.train })));
            }
            if let (Some(stretch), None, Some(best)) = (window.test, self.test(at), self.best(at, 1).first()) {
                return Ok(Some((at, Batch { points: vec![best.point], stretch })));
            }
        }
        Ok(None)
    }

    /// What came of a batch, outcomes in the order of its points. Outcomes of another batch are ignored.
    pub fn tell(&mut self, window: usize, batch: &Batch, outcomes: &[Outcome]) {
        let Some(known) = self.plan.windows.get(window) else { return };
        if Some(batch.stretch) == known.test {
            if let Some(slot) = self.state.tests.get_mut(window) {
                *slot = outcomes.first().copied();
            }
        } else if let Some(trials) = self.state.trials.get_mut(window) {
            let told = batch.points.iter().zip(outcomes);
            trials.extend(told.map(|(point, outcome)| Trial { point: *point, outcome: *outcome }));
        }
    }

    /// How good figures are.
    #[must_use]
    pub fn score(&self, figures: &Figures) -> Option<f64> {
        self.plan.objective.score(figures)
    }

    /// The best trials of a window so far, best first; those without a score are not among them. Equals stay in the order
    /// in which they were tried.
    #[must_use]
    pub fn best(&self, window: usize, count: usize) -> Vec<Trial> {
        let scored = self.trials(window).iter().filter_map(|trial| {
            let score = self.score(&Figures::of(&trial.outcome))?;
            Some((score, trial))
        });
        let mut best: Vec<(f64, &Trial)> = scored.collect();
        best.sort_by(|a, b| b.0.total_cmp(&a.0));
        best.into_iter().take(count).map(|(_, trial)| *trial).collect()
    }

    /// The verdict on the best trial of a window, for the number of trials that it was chosen from.
    #[must_use]
    pub fn deflated(&self, window: usize) -> Option<Deflated> {
        let mut spread = Spread::default();
        self.trials(window).iter().filter_map(|trial| trial.outcome.daily.sharpe()).for_each(|it| spread.add(it));
        deflate(&spread, &self.best(window, 1).first()?.outcome.daily)
    }

    /// The unseen parts of all windows one after the other: what following the best of each would have made. `None` before
    /// all of them are known, or without test parts.
    #[must_use]
    pub fn unseen(&self) -> Option<Outcome> {
        let mut all = Outcome::default();
        let mut growth = 1.0;
        for test in &self.state.tests {
            let test = test.as_ref()?;
            growth *= 1.0 + test.total_return;
            all.max_drawdown = all.max_drawdown.min(test.max_drawdown);
            all.orders += test.orders;
            all.trades += test.trades;
            all.wins += test.wins;
            all.gross_profit += test.gross_profit;
            all.gross_loss += test.gross_loss;
            all.daily.days += test.daily.days;
            all.daily.downside += test.daily.downside;
            all.daily.powers.iter_mut().zip(test.daily.powers).for_each(|(sum, power)| *sum += power);
        }
        all.total_return = growth - 1.0;
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::windows;
    use keel_strategy::{Params, registry};

    fn plan(method: Method, objective: &str, forward: Option<u32>) -> Plan {
        let ranges = ["fast_bars_count=1..30:1".to_owned(), "slow_bars_count=31..60:1".to_owned()];
        Plan {
            space: Space::new(registry::find("ema-cross").unwrap(), Params::new(), &ranges).unwrap(),
            method,
            objective: Objective::parse(objective).unwrap(),
            level: Level::Fast,
            windows: windows(1_000, forward.map(|_| 0.6), forward).unwrap(),
            context: vec![("data".to_owned(), "x".to_owned())],
            batch: 16,
        }
    }

    /// A hill that lies elsewhere in each stretch.
    fn outcome(sweep: &Sweep, point: u64, stretch: Stretch) -> Outcome {
        let places = sweep.plan().space.places(point);
        let top = (stretch.trade_from / 37 % 30) as f64;
        let total_return = 1.0 - ((places[0] as f64 - top).powi(2) + (places[1] as f64 - 11.0).powi(2)) / 1_000.0;
        Outcome { total_return, orders: point as u32, ..Outcome::default() }
    }

    /// Runs to the end, or to the `stop`-th batch.
    fn drive(sweep: &mut Sweep, stop: usize) {
        for _ in 0..stop {
            let Some((window, batch)) = sweep.next().unwrap() else { return };
            assert_eq!(sweep.next().unwrap(), Some((window, batch.clone())), "asking changes nothing");
            let outcomes: Vec<_> = batch.points.iter().map(|point| outcome(sweep, *point, batch.stretch)).collect();
            sweep.tell(window, &batch, &outcomes);
        }
    }

    #[test]
    fn a_sweep_killed_after_any_batch_and_resumed_is_the_same_sweep() {
        for method in [Method::Grid, Method::Random { trials: 90, seed: 3 }, Method::Tpe { trials: 60, seed: 3 }] {
            let mut whole = Sweep::new(plan(method, "return", Some(3))).unwrap();
            drive(&mut whole, usize::MAX);
            for stop in [0, 1, 2, 5, 9, 13] {
                let mut first = Sweep::new(plan(method, "return", Some(3))).unwrap();
                drive(&mut first, stop);
                let bytes = first.state().unwrap();
                let mut second = Sweep::resume(plan(method, "return", Some(3)), &bytes).unwrap();
                drive(&mut second, usize::MAX);
                assert_eq!(second.state, whole.state, "{method:?}, stopped after {stop} batches");
            }
            let (done, target) = whole.progress();
            assert_eq!(done, target);
            assert!(whole.unseen().unwrap().total_return.is_finite());
        }
    }

    #[test]
    fn the_state_of_another_sweep_is_refused_and_the_difference_named() {
        let mut sweep = Sweep::new(plan(Method::Grid, "return", None)).unwrap();
        drive(&mut sweep, 3);
        let bytes = sweep.state().unwrap();
        let mut other = plan(Method::Grid, "return", None);
        other.context = vec![("data".to_owned(), "y".to_owned())];
        let error = Sweep::resume(other, &bytes).unwrap_err();
        assert_eq!(error, "it belongs to a sweep with data = x; this one has y");
        assert!(Sweep::resume(plan(Method::Random { trials: 5, seed: 0 }, "return", None), &bytes).is_err());
        assert!(Sweep::resume(plan(Method::Grid, "sharpe", None), &bytes).is_ok(), "a grid may be judged anew");
        for cut in [0, 1, 7, bytes.len() - 1] {
            assert!(Sweep::resume(plan(Method::Grid, "return", None), &bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn the_best_comes_first_equals_in_order_and_those_without_a_score_never() {
        let mut sweep = Sweep::new(plan(Method::Grid, "return", None)).unwrap();
        let (window, batch) = sweep.next().unwrap().unwrap();
        let returns = [0.5, f64::NAN, 0.7, 0.7, -1.0];
        let outcomes = returns.map(|total_return| Outcome { total_return, ..Outcome::default() });
        sweep.tell(window, &batch, &outcomes);
        let best: Vec<u64> = sweep.best(0, 3).iter().map(|trial| trial.point).collect();
        assert_eq!(best, [batch.points[2], batch.points[3], batch.points[0]]);
        assert_eq!(sweep.deflated(0), None, "no days, no verdict");
    }
}
