//! What has happened lately, for whoever looks at a run from outside: bounded lists, newest last, and a channel of live events.
//!
//! | bound | beyond it |
//! |---|---|
//! | fills, alerts, points of profit that are kept | the oldest goes |
//! | events that wait for a slow listener | the oldest is lost to it, and it is told how many |

use keel_engine::Notice;
use keel_execution::Change;
use keel_lifecycle::Alert;
use keel_model::{Instruments, StatusSnapshot, Timestamp};
use keel_observe::Event;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::VecDeque;
use tokio::sync::broadcast;

const FILLS_MAX: usize = 1_000;
const ALERTS_MAX: usize = 500;
/// Points of profit; once full, every second one goes and the next ones come half as often, so a year fits.
const EQUITY_MAX: usize = 4_096;
const WAITING_MAX: usize = 1_024;

/// The lists.
#[derive(Debug)]
pub struct Recent {
    lists: Mutex<Lists>,
    events: broadcast::Sender<Event>,
}

#[derive(Debug)]
struct Lists {
    fills: VecDeque<Value>,
    alerts: VecDeque<Value>,
    alerts_total: u64,
    equity: Vec<(u64, f64)>,
    equity_every: u64,
    equity_seen: u64,
}

impl Default for Recent {
    fn default() -> Self {
        let lists = Lists {
            fills: VecDeque::new(),
            alerts: VecDeque::new(),
            alerts_total: 0,
            equity: Vec::new(),
            equity_every: 1,
            equity_seen: 0,
        };
        Self { lists: Mutex::new(lists), events: broadcast::Sender::new(WAITING_MAX) }
    }
}

fn keep(list: &mut VecDeque<Value>, value: Value, count_max: usize) {
    while list.len() >= count_max {
        list.pop_front();
    }
    list.push_back(value);
}

fn newest(list: &VecDeque<Value>, limit: usize) -> Value {
    list.iter().rev().take(limit).cloned().collect()
}

impl Recent {
    /// Listens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    fn tell(&self, kind: &'static str, value: &Value) {
        // Nobody listening is fine.
        drop(self.events.send(Event { kind, data: value.to_string().into() }));
    }

    /// What the engine told. Called on the engine's thread: fills and changes of orders only, never market data.
    pub fn note(&self, ts: Timestamp, notice: &Notice, instruments: &Instruments) {
        let symbol = |id| super::summary::symbol(id, instruments);
        match notice {
            Notice::Fill { id, fill, .. } => {
                let value = json!({
                    "ts_ns": ts.as_ns(),
                    "order": id.to_string(),
                    "symbol": symbol(fill.instrument),
                    "side": format!("{:?}", fill.side),
                    "quantity": fill.quantity.normalized().to_string(),
                    "price": fill.price.normalized().to_string(),
                    "fee": fill.fee.normalized().to_string(),
                    "fee_asset": fill.fee_asset.to_string(),
                    "liquidity": format!("{:?}", fill.liquidity),
                });
                self.tell("fill", &value);
                keep(&mut self.lists.lock().fills, value, FILLS_MAX);
            }
            Notice::Order { id, instrument, side, from, to, change, .. } if self.events.receiver_count() > 0 => {
                let why = match change {
                    Change::Plain => Value::Null,
                    other => format!("{other:?}").into(),
                };
                self.tell(
                    "order",
                    &json!({
                        "ts_ns": ts.as_ns(), "order": id.to_string(), "symbol": symbol(*instrument),
                        "side": format!("{side:?}"), "from": from.to_string(), "to": to.to_string(), "why": why,
                    }),
                );
            }
            Notice::TradingState { to, .. } => {
                self.tell("state", &json!({ "ts_ns": ts.as_ns(), "trading_state": to }));
            }
            Notice::Alarm { alarm, held } => self.alert(&json!({
                "ts_ns": ts.as_ns(), "severity": "error", "kind": "orders", "message": alarm.to_string(),
                "held": held.map(symbol),
            })),
            Notice::EmergencyStop(reason) => self.alert(&json!({
                "ts_ns": ts.as_ns(), "severity": "critical", "kind": "emergency-stop", "message": reason,
            })),
            _ => {}
        }
    }

    /// An alert of the process.
    pub fn raise(&self, alert: &Alert) {
        self.alert(&serde_json::to_value(alert).unwrap_or_default());
    }

    fn alert(&self, value: &Value) {
        self.tell("alert", value);
        let mut lists = self.lists.lock();
        lists.alerts_total += 1;
        keep(&mut lists.alerts, value.clone(), ALERTS_MAX);
    }

    /// Once a second: how it stands.
    pub fn sample(&self, now_ns: u64, status: &StatusSnapshot) {
        let profit = status.profit_after_fees.map(|profit| profit.to_f64());
        if let Some(profit) = profit {
            self.lists.lock().point(now_ns, profit);
        }
        if self.events.receiver_count() > 0 {
            self.tell(
                "sample",
                &json!({
                    "ts_ns": now_ns, "profit": profit, "trading_state": status.trading_state,
                    "orders_total": status.orders_total, "fills_total": status.fills_total,
                    "open_orders": status.open_orders.len(), "positions": status.positions.len(),
                }),
            );
        }
    }

    /// The last fills, newest first.
    #[must_use]
    pub fn fills(&self, limit: usize) -> Value {
        newest(&self.lists.lock().fills, limit)
    }

    /// The last alerts, newest first.
    #[must_use]
    pub fn alerts(&self, limit: usize) -> Value {
        newest(&self.lists.lock().alerts, limit)
    }

    /// How many alerts there were.
    #[must_use]
    pub fn alerts_total(&self) -> u64 {
        self.lists.lock().alerts_total
    }

    /// Profit over time: pairs of unix nanoseconds and the amount in the quote asset.
    #[must_use]
    pub fn equity(&self) -> Value {
        self.lists.lock().equity.iter().map(|(ts, profit)| json!([ts, profit])).collect()
    }
}

impl Lists {
    fn point(&mut self, ts_ns: u64, profit: f64) {
        self.equity_seen += 1;
        if !self.equity_seen.is_multiple_of(self.equity_every) {
            return;
        }
        if self.equity.len() >= EQUITY_MAX {
            let mut at = 0;
            self.equity.retain(|_| {
                at += 1;
                at % 2 == 0
            });
            self.equity_every = self.equity_every.saturating_mul(2);
        }
        self.equity.push((ts_ns, profit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_profit_of_a_year_fits() {
        let recent = Recent::default();
        for number in 0..2_000_u32 {
            recent.alert(&json!({ "number": number }));
        }
        assert_eq!(recent.alerts(2), json!([{ "number": 1_999 }, { "number": 1_998 }]));
        assert_eq!((recent.alerts(10_000).as_array().unwrap().len(), recent.alerts_total()), (ALERTS_MAX, 2_000));
        let mut lists = recent.lists.lock();
        for second in 0..100_000_u64 {
            lists.point(second, 1.0);
        }
        assert!(lists.equity.len() <= EQUITY_MAX && lists.equity.len() > EQUITY_MAX / 4);
        assert!(lists.equity.is_sorted_by_key(|(ts, _)| *ts) && lists.equity.first().unwrap().0 < 100);
        assert!(lists.equity.last().unwrap().0 > 99_900);
    }
}
