//! The fast path of the market decoder: Binance's usual field order, verified byte by byte.
//!
//! Invariant: `Some` means that the whole frame was recognised and the event is complete; on `None` an event may be half
//! filled, and the tolerant path fills it anew.

use super::super::symbols::SymbolTable;
use super::decode::{Hit, LEVELS_MAX, Slots, venue_time};
use keel_model::{
    BookDelta, BookSnapshot, InstrumentId, Level, MarketEvent, Price, Quantity, Side, Timestamp, TradeId,
};

#[inline]
pub(super) fn decode(frame: &[u8], ts_recv: Timestamp, symbols: &SymbolTable, slots: &mut Slots) -> Option<Hit> {
    let mut at = Cursor { rest: frame };
    let is_combined = at.skip(b"{\"stream\":\"").is_some();
    if is_combined {
        at.text()?;
        at.skip(b",\"data\":")?;
    }
    let hit = if at.skip(b"{\"u\":").is_some() {
        top(&mut at, ts_recv, symbols, slots)?
    } else {
        at.skip(b"{\"e\":\"")?;
        if at.skip(b"depthUpdate\",\"E\":").is_some() {
            delta(&mut at, ts_recv, symbols, slots)?
        } else {
            at.skip(b"trade\",\"E\":")?;
            trade(&mut at, ts_recv, symbols, slots)?
        }
    };
    if is_combined {
        at.skip(b"}")?;
    }
    at.rest.is_empty().then_some(hit)
}

/// `{"u":1,"s":"BTCUSDT","b":"1.0","B":"2.0","a":"1.1","A":"3.0"}`, after `{"u":`.
#[inline]
fn top(at: &mut Cursor<'_>, ts_recv: Timestamp, symbols: &SymbolTable, slots: &mut Slots) -> Option<Hit> {
    let MarketEvent::TopOfBook(event) = &mut slots.top else { return None };
    event.update_id = at.number()?;
    at.skip(b",\"s\":\"")?;
    event.instrument = symbols.get(at.text()?)?;
    at.skip(b",\"b\":\"")?;
    event.bid.price = at.price()?;
    at.skip(b",\"B\":\"")?;
    event.bid.quantity = at.quantity()?;
    at.skip(b",\"a\":\"")?;
    event.ask.price = at.price()?;
    at.skip(b",\"A\":\"")?;
    event.ask.quantity = at.quantity()?;
    at.skip(b"}")?;
    event.ts_event = Timestamp::ZERO;
    event.ts_recv = ts_recv;
    Some(Hit::Top)
}

/// `{"e":"trade","E":1,"s":"BTCUSDT","t":2,"p":"1.0","q":"2.0","T":1,"m":true,"M":true}`, after `"E":`.
#[inline]
fn trade(at: &mut Cursor<'_>, ts_recv: Timestamp, symbols: &SymbolTable, slots: &mut Slots) -> Option<Hit> {
    let MarketEvent::Trade(event) = &mut slots.trade else { return None };
    at.number()?;
    at.skip(b",\"s\":\"")?;
    event.instrument = symbols.get(at.text()?)?;
    at.skip(b",\"t\":")?;
    event.trade_id = TradeId::new(std::str::from_utf8(at.digits()?).ok()?).ok()?;
    at.skip(b",\"p\":\"")?;
    event.price = at.price()?;
    at.skip(b",\"q\":\"")?;
    event.quantity = at.quantity()?;
    if at.skip(b",\"b\":").is_some() {
        at.number()?;
        at.skip(b",\"a\":")?;
        at.number()?;
    }
    at.skip(b",\"T\":")?;
    event.ts_event = venue_time(at.number()?);
    at.skip(b",\"m\":")?;
    // "m": the buyer is the maker, so the seller was the aggressor.
    event.aggressor = if at.boolean()? { Side::Sell } else { Side::Buy };
    if at.skip(b",\"M\":").is_some() {
        at.boolean()?;
    }
    at.skip(b"}")?;
    event.ts_recv = ts_recv;
    Some(Hit::Trade)
}

/// `{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":2,"u":3,"b":[["1.0","2.0"]],"a":[]}`, after `"E":`.
#[inline]
fn delta(at: &mut Cursor<'_>, ts_recv: Timestamp, symbols: &SymbolTable, slots: &mut Slots) -> Option<Hit> {
    let MarketEvent::BookDelta(event) = &mut slots.delta else { return None };
    let BookDelta { instrument, ts_event, first_update_id, last_update_id, bids, asks, .. } = event;
    *ts_event = venue_time(at.number()?);
    at.skip(b",\"s\":\"")?;
    *instrument = symbols.get(at.text()?)?;
    at.skip(b",\"U\":")?;
    *first_update_id = at.number()?;
    at.skip(b",\"u\":")?;
    *last_update_id = at.number()?;
    at.skip(b",\"b\":")?;
    at.levels(bids)?;
    at.skip(b",\"a\":")?;
    at.levels(asks)?;
    at.skip(b"}")?;
    event.previous_update_id = 0;
    event.ts_recv = ts_recv;
    Some(Hit::Delta)
}

/// `{"lastUpdateId":1,"bids":[["1.0","2.0"]],"asks":[]}`.
pub(super) fn snapshot(
    body: &[u8],
    instrument: InstrumentId,
    ts_recv: Timestamp,
    event: &mut BookSnapshot,
) -> Option<()> {
    let mut at = Cursor { rest: body };
    at.skip(b"{\"lastUpdateId\":")?;
    event.last_update_id = at.number()?;
    at.skip(b",\"bids\":")?;
    at.levels(&mut event.bids)?;
    at.skip(b",\"asks\":")?;
    at.levels(&mut event.asks)?;
    at.skip(b"}")?;
    event.instrument = instrument;
    event.ts_event = Timestamp::ZERO;
    event.ts_recv = ts_recv;
    at.rest.is_empty().then_some(())
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn skip(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// The bytes up to the next `"`, which is consumed. Escapes and control characters are left to the tolerant path.
    #[inline(always)]
    fn text(&mut self) -> Option<&'a [u8]> {
        let mut end = 0;
        loop {
            match *self.rest.get(end)? {
                b'"' => break,
                b'\\' | 0..0x20 | 0x80.. => return None,
                _ => end += 1,
            }
        }
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..)?;
        Some(text)
    }

    /// One to nineteen digits without a leading zero (but zero itself).
    #[inline(always)]
    fn digits(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(end)?;
        if digits.is_empty() || end > 19 || (end > 1 && digits.first() == Some(&b'0')) {
            return None;
        }
        self.rest = rest;
        Some(digits)
    }

    #[inline(always)]
    fn number(&mut self) -> Option<u64> {
        // Nineteen digits fit 64 bits.
        Some(self.digits()?.iter().fold(0u64, |sum, byte| sum * 10 + u64::from(byte - b'0')))
    }

    #[inline(always)]
    fn boolean(&mut self) -> Option<bool> {
        if self.skip(b"true").is_some() {
            return Some(true);
        }
        self.skip(b"false").map(|()| false)
    }

    #[inline(always)]
    fn price(&mut self) -> Option<Price> {
        let (mantissa, scale) = self.decimal()?;
        Price::new(mantissa, scale).ok()
    }

    #[inline(always)]
    fn quantity(&mut self) -> Option<Quantity> {
        let (mantissa, scale) = self.decimal()?;
        Quantity::new(mantissa, scale).ok()
    }

    /// A decimal of at most ten whole and eight fractional digits, and its closing `"`. Others are left to the tolerant path.
    #[inline(always)]
    fn decimal(&mut self) -> Option<(i64, u8)> {
        let mut whole = 0i64;
        let mut length = 0;
        loop {
            let byte = *self.rest.get(length)?;
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            whole = whole * 10 + i64::from(digit);
            length += 1;
            if length > 10 {
                return None;
            }
        }
        if length == 0 {
            return None;
        }
        let rest = self.rest.get(length..)?;
        if let Some(rest) = rest.strip_prefix(b"\"") {
            self.rest = rest;
            return Some((whole, 0));
        }
        let fraction = rest.strip_prefix(b".")?;
        // The usual case: eight places, all at once.
        if let Some((eight, [b'"', rest @ ..])) = fraction.split_first_chunk::<8>() {
            let value = eight_digits(*eight)?;
            self.rest = rest;
            return Some((whole * 100_000_000 + i64::from(value), 8));
        }
        self.fraction(whole, fraction)
    }

    fn fraction(&mut self, whole: i64, fraction: &'a [u8]) -> Option<(i64, u8)> {
        let mut mantissa = whole;
        let mut scale = 0u8;
        for (at, byte) in fraction.iter().enumerate() {
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 && scale < 8 {
                mantissa = mantissa * 10 + i64::from(digit);
                scale += 1;
            } else if *byte == b'"' && scale > 0 {
                self.rest = fraction.get(at + 1..)?;
                return Some((mantissa, scale));
            } else {
                return None;
            }
        }
        None
    }

    /// `[["1.0","2.0"],…]`
    #[inline(always)]
    fn levels(&mut self, out: &mut Vec<Level>) -> Option<()> {
        out.clear();
        self.skip(b"[")?;
        if self.skip(b"]").is_some() {
            return Some(());
        }
        loop {
            self.skip(b"[\"")?;
            let price = self.price()?;
            self.skip(b",\"")?;
            let quantity = self.quantity()?;
            if out.len() >= LEVELS_MAX {
                return None;
            }
            out.push(Level { price, quantity });
            if self.skip(b"],").is_none() {
                return self.skip(b"]]");
            }
        }
    }
}

/// Eight ASCII digits as a number, or `None` when one of them is none. Works on all eight at once.
#[inline(always)]
fn eight_digits(bytes: [u8; 8]) -> Option<u32> {
    let chunk = u64::from_le_bytes(bytes);
    let high = chunk & 0xF0F0_F0F0_F0F0_F0F0;
    let carried = chunk.wrapping_add(0x0606_0606_0606_0606) & 0xF0F0_F0F0_F0F0_F0F0;
    if high != 0x3030_3030_3030_3030 || carried != 0x3030_3030_3030_3030 {
        return None;
    }
    let ones = chunk & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = ones.wrapping_mul(10).wrapping_add(ones >> 8);
    let high = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
    let low = ((pairs >> 16) & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
    Some((high.wrapping_add(low) >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn eight_digits_agrees_with_the_plain_way(bytes: [u8; 8], number in 0u32..100_000_000) {
            let plain = std::str::from_utf8(&bytes).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            prop_assert_eq!(eight_digits(bytes), plain.and_then(|text| text.parse().ok()));
            let text = format!("{number:08}");
            prop_assert_eq!(eight_digits(text.as_bytes().try_into().unwrap()), Some(number));
        }

        #[test]
        fn decimals_agree_with_the_model(text in "[0-9]{1,11}(\\.[0-9]{0,9})?") {
            let quoted = format!("{text}\"");
            let mut at = Cursor { rest: quoted.as_bytes() };
            if let Some(price) = at.price() {
                let plain = Price::parse_bytes(text.as_bytes()).unwrap();
                prop_assert_eq!((price.mantissa(), price.scale()), (plain.mantissa(), plain.scale()));
                prop_assert!(at.rest.is_empty());
            }
        }
    }
}
