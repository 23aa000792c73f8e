//! Which dense index belongs to which symbol, looked up by the bytes of a frame without allocating.
//!
//! Invariant: a symbol is found if and only if it was given; an index never comes from a truncated or case-folded match
//! unless that was asked for.

use keel_model::{InstrumentId, Instruments};

/// Open-addressed table of symbols; at most half full, so a look-up ends after a slot or two.
#[derive(Clone, Debug, Default)]
pub struct SymbolTable {
    slots: Vec<Option<Slot>>,
    mask: usize,
    only: Option<InstrumentId>,
    length: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    symbol: keel_model::ids::Symbol,
    id: InstrumentId,
}

impl SymbolTable {
    /// A table of every instrument.
    #[must_use]
    pub fn new(instruments: &Instruments) -> Self {
        let capacity = (instruments.len() * 2).next_power_of_two().max(4);
        let mut table = Self { slots: vec![None; capacity], mask: capacity - 1, only: None, length: instruments.len() };
        for instrument in instruments {
            let mut at = hash(instrument.symbol.as_str().as_bytes()) & table.mask;
            while table.slots.get(at).is_some_and(Option::is_some) {
                at = (at + 1) & table.mask;
            }
            if let Some(slot) = table.slots.get_mut(at) {
                *slot = Some(Slot { symbol: instrument.symbol, id: instrument.id });
            }
        }
        table.only = if instruments.len() == 1 { instruments.iter().next().map(|one| one.id) } else { None };
        table
    }

    /// The index of a symbol, exactly as the venue writes it.
    #[must_use]
    #[inline]
    pub fn get(&self, symbol: &[u8]) -> Option<InstrumentId> {
        let mut at = hash(symbol) & self.mask;
        loop {
            let slot = self.slots.get(at)?.as_ref()?;
            if slot.symbol.as_str().as_bytes() == symbol {
                return Some(slot.id);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// The index of a symbol as stream names write it, in lower case.
    #[must_use]
    pub fn get_lowercase(&self, symbol: &str) -> Option<InstrumentId> {
        self.get(symbol.to_uppercase().as_bytes())
    }

    /// The one instrument of the table, when there is exactly one.
    #[must_use]
    pub const fn only(&self) -> Option<InstrumentId> {
        self.only
    }

    /// How many symbols there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Are there none?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// First and last eight bytes and the length: enough to spread symbols, and two loads for most.
#[inline]
fn hash(symbol: &[u8]) -> usize {
    let mut head = 0u64;
    for (at, byte) in symbol.iter().take(8).enumerate() {
        head |= u64::from(*byte) << (8 * at);
    }
    let mut tail = 0u64;
    for (at, byte) in symbol.iter().rev().take(4).enumerate() {
        tail |= u64::from(*byte) << (8 * at);
    }
    let mixed = (head ^ tail.rotate_left(29) ^ symbol.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::spot::testing::instruments;

    #[test]
    fn every_symbol_is_found_and_no_other() {
        let names: Vec<String> = (0..300).map(|n| format!("SYM{n}USDT")).collect();
        let list = instruments(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let table = SymbolTable::new(&list);
        for (index, name) in names.iter().enumerate() {
            assert_eq!(table.get(name.as_bytes()).map(InstrumentId::index), Some(index), "{name}");
            assert_eq!(table.get_lowercase(&name.to_lowercase()), table.get(name.as_bytes()));
        }
        for other in [&b"SYM1"[..], b"", b"SYM300USDT", b"sym1usdt", b"\xff\xfe", &[b'A'; 200]] {
            assert_eq!(table.get(other), None, "{other:?}");
        }
        assert_eq!((table.len(), table.only(), table.is_empty()), (300, None, false));
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(SymbolTable::default().get(b"BTCUSDT"), None);
        assert_eq!(SymbolTable::new(&Instruments::new()).get(b"BTCUSDT"), None);
    }
}
