//! The matching engine: requests in, events out. See the crate's first lines for what always holds.
//!
//! Each request runs to its end at the time it is given: checks, locks, matching, triggered stop orders, events. A refused
//! request changes nothing.

mod at_once;
mod linear;
mod lists;
mod matching;
mod ordering;
mod queries;
mod recorded;
mod reduce;
mod report;
mod rows;
mod rules;
mod settle;
mod touch;

use crate::accounts::{Accounts, to_atoms};
use crate::book::Book;
use crate::config::{MarketKind, SimConfig};
use crate::event::{ExecReport, SimEvent};
use crate::external::{ExternalBook, LevelChange};
use crate::hash::FastMap;
use crate::reject::Reject;
use crate::store::{NIL, OrderStore};
use crate::tape::{Candle, Tape};
use crate::touch::TouchBook;
use crate::types::{AccountId, ListId, OrderId};
pub use at_once::FilledAtOnce;
use keel_model::{Asset, Instrument, InstrumentId, InstrumentKind, Notional, Side, Timestamp};
pub(crate) use linear::LinearPosition;
pub use linear::{ClosedByVenue, Liquidation};
use lists::OrderList;
pub use queries::KlineSpan;
pub use recorded::RecordedStatus;
use rules::Rules;
use std::collections::{BTreeMap, VecDeque};

/// Why the engine could not be set up as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimError {
    /// Prices or quantities are finer than amounts can hold exactly.
    #[error(
        "{symbol}: {places} decimal places of price and quantity together are more than 16; give a coarser tick or lot step"
    )]
    TooFine {
        /// The instrument.
        symbol: String,
        /// Decimal places of price and quantity together.
        places: u8,
    },
    /// The instrument is there already.
    #[error("{0} was already added")]
    Duplicate(String),
    /// No such account or instrument, or an amount that does not fit.
    #[error(transparent)]
    Refused(#[from] Reject),
}

/// One instrument's market.
#[derive(Debug)]
pub(crate) struct Market {
    pub(crate) instrument: Instrument,
    /// The recorded book, in a recorded market.
    pub(crate) external: Option<ExternalBook>,
    /// Best prices, in a market of quotes or bars.
    pub(crate) touch: Option<TouchBook>,
    /// A perpetual: positions instead of holdings.
    pub(crate) is_linear: bool,
    /// Market orders that wait for the open of the next bar, oldest first.
    pub(crate) waiting_for_open: VecDeque<(u32, OrderId)>,
    pub(crate) rules: Rules,
    pub(crate) book: Book,
    /// Stop orders that trigger when the last price reaches their price from below; by price and id.
    pub(crate) stops_up: BTreeMap<(i64, OrderId), u32>,
    /// Stop orders that trigger when the last price reaches their price from above.
    pub(crate) stops_down: BTreeMap<(i64, OrderId), u32>,
    pub(crate) tape: Tape,
    pub(crate) update_id: u64,
    pub(crate) next_trade_id: u64,
    /// Did a trade happen since stop orders were last looked at?
    pub(crate) is_stop_check_due: bool,
    /// Best bid and ask as last reported: (price, quantity).
    pub(crate) top: [(i64, i64); 2],
    pub(crate) base: usize,
    pub(crate) quote: usize,
}

/// In recorded markets, trades of accounts are numbered from here, so that they cannot meet a recorded number.
const EXTERNAL_TRADE_ID_FIRST: u64 = 1 << 42;

impl Market {
    /// Best price and quantity as everyone sees them: of the recorded book where there is one.
    pub(crate) fn best_shown(&self, side: Side) -> (i64, i64) {
        match (&self.external, &self.touch) {
            (Some(external), _) => external.best_shown(side).unwrap_or((0, 0)),
            (None, Some(touch)) => touch.available(side).unwrap_or((0, 0)),
            (None, None) => self.book.best(side).map_or((0, 0), |(price, level)| (price, level.total)),
        }
    }

    /// The last price; before the first trade of a recording the middle of its book.
    pub(crate) fn reference_price(&self) -> Option<i64> {
        if let Some(touch) = &self.touch {
            return (touch.mark > 0).then_some(touch.mark);
        }
        let middle = || match (self.best_shown(Side::Buy), self.best_shown(Side::Sell)) {
            ((_, 0), _) | (_, (_, 0)) => None,
            ((bid, _), (ask, _)) => Some(bid + (ask - bid) / 2),
        };
        self.tape.last_price().or_else(middle)
    }

    /// The price that positions are marked at.
    #[inline]
    pub(crate) fn mark_price(&self) -> Option<i64> {
        match &self.touch {
            Some(touch) => (touch.mark > 0).then_some(touch.mark),
            None => self.reference_price(),
        }
    }

    /// Does the price come from outside, so that what accounts do does not show in it?
    pub(crate) const fn is_fed(&self) -> bool {
        self.external.is_some() || self.touch.is_some()
    }
}

/// The simulated venue's core.
#[derive(Debug)]
pub struct MatchingEngine {
    pub(crate) config: SimConfig,
    pub(crate) accounts: Accounts,
    pub(crate) store: OrderStore,
    pub(crate) markets: Vec<Market>,
    /// Market of an instrument id; [`NIL`] when there is none.
    index: Vec<u32>,
    pub(crate) lists: FastMap<ListId, OrderList>,
    pub(crate) closed_lists: VecDeque<ListId>,
    pub(crate) now: Timestamp,
    pub(crate) events: Vec<SimEvent>,
    events_dropped: u64,
    /// Fills of the order that was submitted last.
    fills: Vec<ExecReport>,
    /// Is the order that was submitted still being worked on, and not yet the stop orders that it has triggered?
    is_answering: bool,
    touched: Vec<AccountId>,
    /// Changes of a recorded book while an event is being applied; kept for its room.
    changes: Vec<LevelChange>,
    next_order_id: OrderId,
    next_list_id: ListId,
    next_execution_id: u64,
    next_prevented_id: u64,
    liquidation: Option<Liquidation>,
}

impl MatchingEngine {
    /// An engine without instruments and accounts.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        Self {
            config,
            accounts: Accounts::default(),
            store: OrderStore::default(),
            markets: Vec::new(),
            index: Vec::new(),
            lists: FastMap::default(),
            closed_lists: VecDeque::new(),
            now: Timestamp::ZERO,
            events: Vec::new(),
            events_dropped: 0,
            fills: Vec::new(),
            is_answering: false,
            touched: Vec::new(),
            changes: Vec::new(),
            next_order_id: 1,
            next_list_id: 1,
            next_execution_id: 1,
            next_prevented_id: 1,
            liquidation: None,
        }
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &SimConfig {
        &self.config
    }

    /// The largest time seen.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds an instrument under its own [`Instrument::id`], with liquidity from accounts alone.
    pub fn add_instrument(&mut self, instrument: Instrument) -> Result<InstrumentId, SimError> {
        self.add_market(instrument, MarketKind::Internal)
    }

    /// Adds an instrument under its own [`Instrument::id`].
    pub fn add_market(&mut self, instrument: Instrument, kind: MarketKind) -> Result<InstrumentId, SimError> {
        let id = instrument.id;
        if self.market_index(id).is_ok() {
            return Err(SimError::Duplicate(instrument.symbol.to_string()));
        }
        let rules = Rules::new(&instrument)?;
        if self.index.len() <= id.index() {
            self.index.resize(id.index() + 1, NIL);
        }
        self.index[id.index()] = u32::try_from(self.markets.len()).unwrap_or(NIL);
        let (base, quote) = (self.accounts.intern(instrument.base), self.accounts.intern(instrument.quote));
        let is_linear = instrument.kind == InstrumentKind::LinearPerpetual;
        self.markets.push(Market {
            instrument,
            external: (kind == MarketKind::External).then(ExternalBook::default),
            touch: (kind == MarketKind::Touch).then(TouchBook::default),
            is_linear,
            waiting_for_open: VecDeque::new(),
            rules,
            book: Book::default(),
            stops_up: BTreeMap::new(),
            stops_down: BTreeMap::new(),
            tape: Tape::new(&self.config.limits),
            update_id: 0,
            next_trade_id: if kind == MarketKind::Internal { 1 } else { EXTERNAL_TRADE_ID_FIRST },
            is_stop_check_due: false,
            top: [(0, 0); 2],
            base,
            quote,
        });
        Ok(id)
    }

    /// Replaces an instrument's status and filters; open orders stay. Scales must not become finer.
    pub fn update_instrument(&mut self, instrument: Instrument) -> Result<(), SimError> {
        let m = self.market_index(instrument.id)?;
        let rules = Rules::new(&instrument)?;
        let market = &mut self.markets[m];
        if (rules.price_scale, rules.quantity_scale) != (market.rules.price_scale, market.rules.quantity_scale) {
            return Err(SimError::Refused(Reject::PriceFilter));
        }
        (market.rules, market.instrument) = (rules, instrument);
        Ok(())
    }

    /// The instrument with this id.
    #[must_use]
    pub fn instrument(&self, id: InstrumentId) -> Option<&Instrument> {
        self.market(id).map(|market| &market.instrument)
    }

    /// All instruments, in the order they were added.
    pub fn instruments(&self) -> impl Iterator<Item = &Instrument> {
        self.markets.iter().map(|market| &market.instrument)
    }

    /// Opens an account with these free balances.
    pub fn add_account(&mut self, balances: &[(Asset, Notional)]) -> Result<AccountId, SimError> {
        let account = self.accounts.add(false);
        for (asset, amount) in balances {
            self.deposit(account, *asset, *amount)?;
        }
        Ok(account)
    }

    /// Opens an account that provides liquidity: its funds are not checked, its orders are not kept once closed, and nothing
    /// is reported about it but what the market sees.
    pub fn add_house_account(&mut self) -> AccountId {
        self.accounts.add(true)
    }

    /// Adds to (or, negative, takes from) an account's free balance; the balance cannot become negative.
    pub fn deposit(&mut self, account: AccountId, asset: Asset, amount: Notional) -> Result<(), SimError> {
        if self.accounts.get(account).is_none() {
            return Err(SimError::Refused(Reject::UnknownAccount));
        }
        let amount = to_atoms(amount)?;
        let index = self.accounts.intern(asset);
        if self.accounts.supply(index).saturating_add(amount) > crate::accounts::AMOUNT_MAX {
            return Err(SimError::Refused(Reject::TooLarge));
        }
        let cell = self.accounts.cell_mut(account, index);
        if cell.free + amount < 0 {
            return Err(SimError::Refused(Reject::InsufficientBalance));
        }
        cell.free += amount;
        Ok(())
    }

    /// Moves all events since the last call to the end of `out`.
    pub fn drain_events(&mut self, out: &mut Vec<SimEvent>) {
        out.append(&mut self.events);
    }

    /// Is there anything to drain?
    #[must_use]
    pub const fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Gives an instrument a past: one-minute candles, contiguous and ascending, before its first trade.
    pub(crate) fn load_history(&mut self, instrument: InstrumentId, candles: Vec<Candle>) -> Result<(), SimError> {
        let m = self.market_index(instrument)?;
        let market = &mut self.markets[m];
        for candle in candles {
            market.next_trade_id = market.next_trade_id.max(candle.last_id + 1);
            market.tape.minutes.push(candle);
        }
        Ok(())
    }

    /// Is this order open?
    #[must_use]
    pub fn is_open(&self, order_id: OrderId) -> bool {
        self.store.slot_of(order_id).is_some_and(|slot| self.store[slot].state.is_open())
    }

    /// How many market data events were dropped because nobody drained them ([`crate::HistoryLimits::events_max`]).
    #[must_use]
    pub const fn events_dropped(&self) -> u64 {
        self.events_dropped
    }

    /// The price that positions in an instrument are marked at.
    #[must_use]
    pub fn mark_price(&self, instrument: InstrumentId) -> Option<keel_model::Price> {
        let market = self.market(instrument)?;
        market.mark_price().map(|units| market.rules.price(units))
    }

    /// Is any order open, of any account?
    #[must_use]
    pub const fn has_open_orders(&self) -> bool {
        self.store.open_total > 0
    }

    /// Fill reports of the order submitted by the last call (what a venue answers with the placement).
    #[must_use]
    pub fn last_fills(&self) -> &[ExecReport] {
        &self.fills
    }

    pub(crate) fn market_index(&self, id: InstrumentId) -> Result<usize, Reject> {
        match self.index.get(id.index()) {
            Some(&m) if m != NIL => Ok(m as usize),
            _ => Err(Reject::UnknownInstrument),
        }
    }

    pub(crate) fn market(&self, id: InstrumentId) -> Option<&Market> {
        self.market_index(id).ok().and_then(|m| self.markets.get(m))
    }

    /// Starts a request.
    fn begin(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.fills.clear();
        self.is_answering = true;
    }

    /// Ends a request on a market: triggered stop orders, then balances and top of book.
    fn finish(&mut self, m: usize) {
        self.is_answering = false;
        self.run_triggers(m);
        self.flush(m);
    }

    /// Reports a market data event, unless nobody wants it or nobody drains.
    fn publish(&mut self, event: SimEvent) {
        if !self.config.publish_market_data {
            return;
        }
        if self.events.len() >= self.config.limits.events_max {
            self.events_dropped += 1;
            return;
        }
        self.events.push(event);
    }
}
