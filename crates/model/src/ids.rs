//! Identifiers. All are `Copy`, compare by value and need no table to be printed.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// Why an identifier is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Longer than the type holds.
    #[error("identifier of {length} bytes is longer than {max}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The most bytes allowed.
        max: usize,
    },
    /// Not a client order id of ours.
    #[error("'{0}' is not a client order id of ours (k<instance>-<epoch>-<sequence> in base 36)")]
    NotOurs(String),
}

/// A short string held in place: `N` bytes at most, no allocation, `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InlineStr<const N: usize> {
    // Unused bytes are zero, so derived order is the order of the text (shorter first among equal prefixes).
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> InlineStr<N> {
    /// The empty string.
    pub const EMPTY: Self = Self { bytes: [0; N], length: 0 };

    /// Copies `text`; errors when it is longer than `N` bytes.
    pub fn new(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0u8; N];
        let too_long = IdError::TooLong { length: text.len(), max: N };
        bytes.get_mut(..text.len()).ok_or_else(|| too_long.clone())?.copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: u8::try_from(text.len()).map_err(|_| too_long)? })
    }

    /// Copies as much of `text` as fits, cut at a character boundary. For messages, never for identifiers.
    #[must_use]
    pub fn truncated(text: &str) -> Self {
        let end = (0..=text.len().min(N)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        Self::new(text.get(..end).unwrap_or_default()).unwrap_or(Self::EMPTY)
    }

    /// A number in decimal digits; empty where they do not fit.
    #[must_use]
    pub fn of_number(mut value: u64) -> Self {
        let mut text = Self::EMPTY;
        let length = value.checked_ilog10().unwrap_or(0) + 1;
        let Some(places) = text.bytes.get_mut(..length as usize) else { return Self::EMPTY };
        for place in places.iter_mut().rev() {
            *place = b'0' + (value % 10) as u8;
            value /= 10;
        }
        text.length = length as u8;
        text
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.length)).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// The bytes of the text.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Is it empty?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<const N: usize> Default for InlineStr<N> {
    fn default() -> Self {
        Self::EMPTY
    }
}
impl<const N: usize> fmt::Display for InlineStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl<const N: usize> fmt::Debug for InlineStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
impl<const N: usize> FromStr for InlineStr<N> {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::new(text)
    }
}
impl<const N: usize> Serialize for InlineStr<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
impl<'de, const N: usize> Deserialize<'de> for InlineStr<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

/// An asset's code as its venue writes it: `BTC`, `USDT`, `1000SATS`.
pub type Asset = InlineStr<15>;
/// A venue's symbol: `BTCUSDT`, `XBT/USD`, `BTC-USDT-SWAP`.
pub type Symbol = InlineStr<31>;
/// A venue's order id; digits, hexadecimal or a UUID, depending on the venue.
pub type VenueOrderId = InlineStr<39>;
/// A venue's trade id; unique per instrument at least.
pub type TradeId = InlineStr<39>;

/// Dense index of an instrument in [`crate::Instruments`]; meaningful within one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstrumentId(pub u32);

impl InstrumentId {
    /// As an index into a dense table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Dense index of a strategy within one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StrategyId(pub u16);

/// Our own order id: deterministic and never reused. The epoch is raised and made durable at each start, so the same
/// (instance, epoch, sequence) cannot come twice, and our orders are recognisable at the venue by their prefix.
///
/// Text form: `k<instance>-<epoch>-<sequence>`, each in base 36; at most 34 bytes of `[a-z0-9-]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientOrderId {
    /// Which bot: one number per account and data folder.
    pub instance: u32,
    /// Which start of it.
    pub epoch: u32,
    /// Which order of that start; counts from 1.
    pub sequence: u64,
}

/// The longest text form of a [`ClientOrderId`]: `k` + 7 + `-` + 7 + `-` + 13.
pub const CLIENT_ORDER_ID_LENGTH_MAX: usize = 30;

impl ClientOrderId {
    /// Writes the text form into `out` without allocating; returns its length, or `None` when `out` is too short
    /// ([`CLIENT_ORDER_ID_LENGTH_MAX`] bytes always suffice).
    pub fn write_to(self, out: &mut [u8]) -> Option<usize> {
        *out.first_mut()? = b'k';
        let mut at = 1;
        at += write_base36(u64::from(self.instance), out.get_mut(at..)?)?;
        *out.get_mut(at)? = b'-';
        at += 1;
        at += write_base36(u64::from(self.epoch), out.get_mut(at..)?)?;
        *out.get_mut(at)? = b'-';
        at += 1;
        at += write_base36(self.sequence, out.get_mut(at..)?)?;
        Some(at)
    }

    /// The prefix shared by all orders of one instance: `k<instance>-`.
    #[must_use]
    pub fn prefix(instance: u32) -> String {
        let text = Self { instance, epoch: 0, sequence: 0 }.to_string();
        text.split_inclusive('-').next().unwrap_or_default().to_owned()
    }
}

fn write_base36(mut value: u64, out: &mut [u8]) -> Option<usize> {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut buffer = [b'0'; 13];
    let mut length = 0;
    for slot in buffer.iter_mut().rev() {
        *slot = *DIGITS.get((value % 36) as usize)?;
        value /= 36;
        length += 1;
        if value == 0 {
            break;
        }
    }
    let text = buffer.get(13 - length..)?;
    out.get_mut(..length)?.copy_from_slice(text);
    Some(length)
}

impl fmt::Display for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0u8; CLIENT_ORDER_ID_LENGTH_MAX];
        let length = self.write_to(&mut buffer).ok_or(fmt::Error)?;
        f.pad(buffer.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(fmt::Error)?)
    }
}

impl FromStr for ClientOrderId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let [b'k', rest @ ..] = text.as_bytes() else { return Err(not_ours(text)) };
        let mut parts = rest.split(|byte| *byte == b'-').map(read_base36);
        let mut next = || parts.next().flatten().ok_or_else(|| not_ours(text));
        let (instance, epoch, sequence) = (next()?, next()?, next()?);
        match (u32::try_from(instance), u32::try_from(epoch), parts.next()) {
            (Ok(instance), Ok(epoch), None) => Ok(Self { instance, epoch, sequence }),
            _ => Err(not_ours(text)),
        }
    }
}

#[cold]
fn not_ours(text: &str) -> IdError {
    IdError::NotOurs(text.chars().take(64).collect())
}

/// The number, where writing it gives the text back.
fn read_base36(text: &[u8]) -> Option<u64> {
    if text.is_empty() || (text.len() > 1 && text.starts_with(b"0")) {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            _ => return None,
        };
        number.checked_mul(36)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_written_whole_or_not_at_all() {
        for value in [0, 1, 9, 10, 1_234_567_890, u64::MAX] {
            assert_eq!(InlineStr::<20>::of_number(value).as_str(), value.to_string());
        }
        assert_eq!(InlineStr::<3>::of_number(999).as_str(), "999");
        assert!(InlineStr::<3>::of_number(1_000).is_empty());
    }

    proptest! {
        #[test]
        fn client_order_ids_round_trip_and_fit_every_venue(instance: u32, epoch: u32, sequence: u64) {
            let id = ClientOrderId { instance, epoch, sequence };
            let text = id.to_string();
            prop_assert!(text.len() <= CLIENT_ORDER_ID_LENGTH_MAX && CLIENT_ORDER_ID_LENGTH_MAX <= 32);
            prop_assert!(text.starts_with(&ClientOrderId::prefix(instance)));
            prop_assert_eq!(text.parse::<ClientOrderId>().unwrap(), id);
        }
        #[test]
        fn foreign_ids_never_pass_for_ours(text in "[a-zA-Z0-9_-]{0,36}") {
            if let Ok(id) = text.parse::<ClientOrderId>() { prop_assert_eq!(id.to_string(), text); }
        }
    }

    #[test]
    fn ids_of_other_programs_are_not_ours() {
        for text in ["", "k", "k1-2", "k1-2-3-4", "x-TKT5PX2F1", "K1-2-3", "k01-2-3", "k1-2-zzzzzzzzzzzzzz", "web_1234"]
        {
            assert!(text.parse::<ClientOrderId>().is_err(), "{text}");
        }
    }

    #[test]
    fn inline_strings_refuse_what_does_not_fit() {
        assert_eq!(Asset::new("USDT").unwrap().as_str(), "USDT");
        assert_eq!(Asset::new("A234567890123456"), Err(IdError::TooLong { length: 16, max: 15 }));
        assert_eq!(InlineStr::<4>::truncated("ab\u{e9}\u{e9}").as_str(), "ab\u{e9}");
        assert!(Asset::new("BTC").unwrap() < Asset::new("BTCX").unwrap());
    }
}
