//! A fingerprint of the whole trading state: equal digests mean that two runs traded the same.
//!
//! SHA-256 over these parts, each introduced by its name and closed by its length, every value in one fixed text form:
//!
//! 1. `orders`: every order, as number in the order of birth, strategy, instrument, side, type, time in force, purpose,
//!    quantity, price, stop price, state, filled, venue's count. The part is the sum of the orders' SHA-256 as 256-bit numbers (little-endian, wrapping), so that it does
//!    not depend on when closed orders leave memory.
//! 2. `fills`: every fill in the order of booking, as number of its order, instrument, side, price, quantity, fee, fee asset, liquidity.
//! 3. `positions`: every position that ever was, by instrument, as quantity, cost, realised, bought, sold.
//! 4. `balances`: by asset name, free and locked. 5. `fees`: by asset name.
//! 6. `risk`: state, latches, approved, denied, exposure, day's profit, held instruments, reservations by the number of their order.
//!
//! Client order ids, venue ids, epochs and times are left out: they differ between runs that traded the same.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::Write as _;

/// SHA-256 of the trading state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateDigest([u8; 32]);

impl StateDigest {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A running hash over a list of records.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Part {
    #[serde(with = "hash_state")]
    hash: Sha256,
    count: u64,
    #[serde(skip)]
    line: Vec<u8>,
}

/// A hash that goes on where it was saved.
mod hash_state {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use sha2::Sha256;
    use sha2::digest::common::hazmat::{SerializableState, SerializedState};

    pub(super) fn serialize<S: Serializer>(hash: &Sha256, serializer: S) -> Result<S::Ok, S::Error> {
        let state: SerializedState<Sha256> = SerializableState::serialize(hash);
        state.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sha256, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let state = SerializedState::<Sha256>::try_from(bytes.as_slice());
        let hash = state.ok().and_then(|state| <Sha256 as SerializableState>::deserialize(&state).ok());
        hash.ok_or_else(|| de::Error::custom("this is not the state of a hash"))
    }
}

/// One record, field by field; the same text as `format!` would give, several times as fast.
pub(crate) struct Line<'a>(&'a mut Vec<u8>);

impl Line<'_> {
    fn gap(&mut self) {
        if !self.0.is_empty() {
            self.0.push(b' ');
        }
    }

    pub(crate) fn word(&mut self, word: &str) -> &mut Self {
        self.gap();
        self.0.extend_from_slice(word.as_bytes());
        self
    }

    pub(crate) fn number(&mut self, number: u64) -> &mut Self {
        self.decimal(number.into(), 0)
    }

    /// `mantissa · 10^-scale`.
    pub(crate) fn decimal(&mut self, mantissa: i128, scale: u8) -> &mut Self {
        self.gap();
        let mut text = [b'0'; 24];
        let mut at = text.len();
        let Some(mut rest) = u64::try_from(mantissa.unsigned_abs()).ok().filter(|_| scale <= 18) else {
            let number = keel_model::Notional::new(mantissa, scale).unwrap_or_default();
            // Writing to memory cannot fail.
            let _written = write!(self.0, "{number}");
            return self;
        };
        let mut written = 0;
        let mut put = |byte: u8| {
            at -= 1;
            if let Some(slot) = text.get_mut(at) {
                *slot = byte;
            }
        };
        while rest > 0 || written <= scale {
            if written == scale && scale > 0 {
                put(b'.');
            }
            put(b'0' + (rest % 10) as u8);
            (rest, written) = (rest / 10, written + 1);
        }
        if mantissa < 0 {
            put(b'-');
        }
        self.0.extend_from_slice(text.get(at..).unwrap_or_default());
        self
    }
}

impl Part {
    /// Adds one record, field by field; see [`Self::add`].
    pub(crate) fn record(&mut self, write: impl FnOnce(&mut Line<'_>)) {
        self.line.clear();
        write(&mut Line(&mut self.line));
        self.take_line();
    }

    fn take_line(&mut self) {
        self.hash.update((self.line.len() as u64).to_le_bytes());
        self.hash.update(&self.line);
        self.count += 1;
    }

    /// Adds one record. The text must say everything that counts and nothing else.
    pub(crate) fn add(&mut self, record: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to memory cannot fail.
        let _written = self.line.write_fmt(record);
        self.take_line();
    }

    pub(crate) fn finish(self, name: &str, whole: &mut Sha256) {
        whole.update(name.as_bytes());
        whole.update(self.count.to_le_bytes());
        whole.update(self.hash.finalize());
    }
}

/// A running sum over a set of records, whatever their order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bag {
    sum: [u64; 4],
    count: u64,
    #[serde(skip)]
    line: Vec<u8>,
}

impl Bag {
    /// Adds one record, field by field. The text must say everything that counts and nothing else.
    pub(crate) fn record(&mut self, write: impl FnOnce(&mut Line<'_>)) {
        self.line.clear();
        write(&mut Line(&mut self.line));
        let hash = Sha256::digest(&self.line);
        let mut carry = 0u64;
        for (word, bytes) in self.sum.iter_mut().zip(hash.chunks_exact(8)) {
            let mut buffer = [0u8; 8];
            buffer.copy_from_slice(bytes);
            let wide = u128::from(*word) + u128::from(u64::from_le_bytes(buffer)) + u128::from(carry);
            *word = wide as u64;
            carry = (wide >> 64) as u64;
        }
        self.count += 1;
    }

    pub(crate) fn finish(&self, name: &str, whole: &mut Sha256) {
        whole.update(name.as_bytes());
        whole.update(self.count.to_le_bytes());
        for word in self.sum {
            whole.update(word.to_le_bytes());
        }
    }
}

pub(crate) fn finish(whole: Sha256) -> StateDigest {
    StateDigest(whole.finalize().into())
}

/// The name of an enum's variant, as `{:?}` gives it.
pub(crate) trait Named: Copy {
    fn name(self) -> &'static str;
}

macro_rules! named {
    ($kind:ty: $($variant:ident)*) => {
        impl Named for $kind {
            fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }
        }
    };
}

named!(keel_model::Side: Buy Sell);
named!(keel_model::OrderType: Market Limit LimitMaker StopLoss StopLossLimit TakeProfit TakeProfitLimit);
named!(keel_model::TimeInForce: Gtc Ioc Fok);
named!(keel_model::OrderPurpose: Entry Exit Protective);
named!(keel_model::Liquidity: Maker Taker);

#[cfg(test)]
mod tests {
    use super::*;
    use keel_model::{Notional, OrderPurpose, OrderType, TimeInForce};

    #[test]
    fn a_line_is_what_format_gives() {
        for (mantissa, scale) in [
            (0, 0),
            (0, 3),
            (7, 0),
            (-7, 1),
            (-50, 2),
            (123_456, 8),
            (i128::from(u64::MAX), 18),
            (i128::from(u64::MAX) + 1, 4),
            (i128::MIN, 36),
            (i128::MAX, 20),
            (-1, 18),
            (1, 36),
        ] {
            let mut text = Vec::new();
            Line(&mut text).word("a").decimal(mantissa, scale).number(5);
            assert_eq!(text, format!("a {} 5", Notional::new(mantissa, scale).unwrap()).into_bytes());
        }
        assert_eq!(OrderType::TakeProfitLimit.name(), format!("{:?}", OrderType::TakeProfitLimit));
        assert_eq!(TimeInForce::Gtc.name(), format!("{:?}", TimeInForce::Gtc));
        assert_eq!(OrderPurpose::Protective.name(), format!("{:?}", OrderPurpose::Protective));
    }
}
