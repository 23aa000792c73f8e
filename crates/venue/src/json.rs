//! A small JSON writer for the venue's answers and events. Invariants: output is always one well-formed value as long as
//! begin and end are paired (the closure helpers pair them); numbers of money are written as strings with eight decimal
//! places, as Binance does, and never through a float.

use keel_model::{Notional, Price, Quantity, Timestamp};

/// The number of decimal places that Binance spot shows.
const PLACES: u8 = 8;

/// A decimal that can be shown.
pub(crate) trait Decimal: Copy {
    /// Digits and scale.
    fn parts(self) -> (i128, u8);
}
impl Decimal for Price {
    fn parts(self) -> (i128, u8) {
        (i128::from(self.mantissa()), self.scale())
    }
}
impl Decimal for Quantity {
    fn parts(self) -> (i128, u8) {
        (i128::from(self.mantissa()), self.scale())
    }
}
impl Decimal for Notional {
    fn parts(self) -> (i128, u8) {
        (self.mantissa(), self.scale())
    }
}

/// Milliseconds or microseconds in answers and events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum TimeUnit {
    /// The default.
    #[default]
    Milliseconds,
    /// `timeUnit=MICROSECOND`, `X-MBX-TIME-UNIT: MICROSECOND`.
    Microseconds,
}

impl TimeUnit {
    /// Reads Binance's word for it; an unknown word is `None`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "MICROSECOND" | "microsecond" => Some(Self::Microseconds),
            "MILLISECOND" | "millisecond" => Some(Self::Milliseconds),
            _ => None,
        }
    }

    /// A time as a number in this unit.
    pub(crate) const fn of(self, ts: Timestamp) -> u64 {
        match self {
            Self::Milliseconds => ts.as_ms(),
            Self::Microseconds => ts.as_ns() / 1_000,
        }
    }
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Json {
    out: String,
    comma: bool,
    unit: TimeUnit,
}

impl Json {
    /// An empty text; times will be shown in `unit`.
    pub(crate) fn new(unit: TimeUnit) -> Self {
        Self { out: String::with_capacity(512), comma: false, unit }
    }

    /// The text written.
    pub(crate) fn finish(self) -> String {
        self.out
    }

    /// One object as text.
    pub(crate) fn object(unit: TimeUnit, fill: impl FnOnce(&mut Self)) -> String {
        let mut json = Self::new(unit);
        json.item_obj(fill);
        json.finish()
    }

    /// One array as text.
    pub(crate) fn array(unit: TimeUnit, fill: impl FnOnce(&mut Self)) -> String {
        let mut json = Self::new(unit);
        json.item_arr(fill);
        json.finish()
    }

    fn sep(&mut self) {
        if self.comma {
            self.out.push(',');
        }
        self.comma = true;
    }

    fn key(&mut self, key: &str) {
        self.sep();
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    fn nest(&mut self, open: char, close: char, fill: impl FnOnce(&mut Self)) {
        self.out.push(open);
        self.comma = false;
        fill(self);
        self.out.push(close);
        self.comma = true;
    }

    /// An object as the next item of an array (or as the whole text).
    pub(crate) fn item_obj(&mut self, fill: impl FnOnce(&mut Self)) {
        self.sep();
        self.nest('{', '}', fill);
    }

    /// An array as the next item of an array (or as the whole text).
    pub(crate) fn item_arr(&mut self, fill: impl FnOnce(&mut Self)) {
        self.sep();
        self.nest('[', ']', fill);
    }

    /// A string as the next item of an array.
    pub(crate) fn item_str(&mut self, value: &str) {
        self.sep();
        escape(&mut self.out, value);
    }

    /// A decimal as the next item of an array.
    pub(crate) fn item_dec(&mut self, value: impl Decimal) {
        self.sep();
        quote_decimal(&mut self.out, value);
    }

    /// A number as the next item of an array.
    pub(crate) fn item_num(&mut self, value: impl Into<i128>) {
        self.sep();
        push_int(&mut self.out, value.into());
    }

    /// A time as the next item of an array.
    pub(crate) fn item_time(&mut self, ts: Timestamp) {
        let value = self.unit.of(ts);
        self.item_num(value);
    }

    /// Ready-made JSON as the next item of an array (or as the whole text).
    pub(crate) fn item_raw(&mut self, json: &str) {
        self.sep();
        self.out.push_str(json);
    }

    /// A nested object.
    pub(crate) fn obj(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.nest('{', '}', fill);
    }

    /// A nested array.
    pub(crate) fn arr(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.nest('[', ']', fill);
    }

    /// A string.
    pub(crate) fn str(&mut self, key: &str, value: &str) {
        self.key(key);
        escape(&mut self.out, value);
    }

    /// A number.
    pub(crate) fn num(&mut self, key: &str, value: impl Into<i128>) {
        self.key(key);
        push_int(&mut self.out, value.into());
    }

    /// A truth value.
    pub(crate) fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.push_str(if value { "true" } else { "false" });
    }

    /// A decimal as a string with eight places.
    pub(crate) fn dec(&mut self, key: &str, value: impl Decimal) {
        self.key(key);
        quote_decimal(&mut self.out, value);
    }

    /// A time.
    pub(crate) fn time(&mut self, key: &str, ts: Timestamp) {
        let value = self.unit.of(ts);
        self.num(key, value);
    }

    /// Nothing.
    pub(crate) fn null(&mut self, key: &str) {
        self.key(key);
        self.out.push_str("null");
    }

    /// Ready-made JSON.
    pub(crate) fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.out.push_str(json);
    }
}

fn quote_decimal(out: &mut String, value: impl Decimal) {
    out.push('"');
    push_decimal(out, value);
    out.push('"');
}

/// Writes a decimal with eight places, or with as many as it needs.
pub(crate) fn push_decimal(out: &mut String, value: impl Decimal) {
    let (mut mantissa, mut scale) = value.parts();
    while scale > PLACES && mantissa % 10 == 0 {
        mantissa /= 10;
        scale -= 1;
    }
    while scale < PLACES {
        match mantissa.checked_mul(10) {
            Some(wider) => mantissa = wider,
            None => break,
        }
        scale += 1;
    }
    if mantissa < 0 {
        out.push('-');
    }
    let magnitude = mantissa.unsigned_abs();
    let divisor = 10u128.pow(u32::from(scale));
    push_uint(out, magnitude / divisor);
    if scale == 0 {
        return;
    }
    out.push('.');
    let mut rest = magnitude % divisor;
    let mut unit = divisor / 10;
    while unit > 0 {
        out.push(char::from(b'0' + (rest / unit) as u8));
        rest %= unit;
        unit /= 10;
    }
}

/// A decimal as text with eight places.
pub(crate) fn decimal_text(value: impl Decimal) -> String {
    let mut out = String::with_capacity(24);
    push_decimal(&mut out, value);
    out
}

fn push_int(out: &mut String, value: i128) {
    if value < 0 {
        out.push('-');
    }
    push_uint(out, value.unsigned_abs());
}

fn push_uint(out: &mut String, value: u128) {
    let Ok(mut rest) = u64::try_from(value) else {
        out.push_str(&value.to_string());
        return;
    };
    let mut digits = [0u8; 20];
    let mut length = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
        if rest == 0 {
            break;
        }
    }
    for &digit in digits.iter().skip(digits.len() - length) {
        out.push(char::from(digit));
    }
}

/// Writes `text` as a JSON string.
pub(crate) fn escape(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => out.push(plain),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: impl Decimal) -> String {
        decimal_text(value)
    }

    #[test]
    fn decimals_have_eight_places_and_lose_nothing() {
        assert_eq!(text("61837.63".parse::<Price>().unwrap()), "61837.63000000");
        assert_eq!(text("0".parse::<Quantity>().unwrap()), "0.00000000");
        assert_eq!(text("0.00001234".parse::<Price>().unwrap()), "0.00001234");
        assert_eq!(text("-1.5".parse::<Quantity>().unwrap()), "-1.50000000");
        assert_eq!(text("0.0000000001".parse::<Price>().unwrap()), "0.0000000001");
        assert_eq!(text("1.1000000000".parse::<Price>().unwrap()), "1.10000000");
        assert_eq!(text("123456789012345678901.5".parse::<Notional>().unwrap()), "123456789012345678901.50000000");
    }

    #[test]
    fn what_is_written_is_json() {
        let ts = Timestamp::from_us(1_700_000_000_123_456);
        let made = Json::object(TimeUnit::Microseconds, |j| {
            j.str("a\u{e9}", "x\"\\\n\u{1}\u{e9}");
            j.num("n", -5i64);
            j.bool("b", true);
            j.null("z");
            j.time("t", ts);
            j.arr("l", |j| {
                j.item_num(1u64);
                j.item_str("s");
                j.item_obj(|j| j.raw("r", "[]"));
                j.item_arr(|_| ());
            });
            j.obj("o", |_| ());
        });
        let value: serde_json::Value = serde_json::from_str(&made).unwrap();
        assert_eq!(value["a\u{e9}"], "x\"\\\n\u{1}\u{e9}");
        assert_eq!(value["t"], 1_700_000_000_123_456u64);
        assert_eq!(value["l"][2]["r"], serde_json::json!([]));
        assert_eq!(TimeUnit::Milliseconds.of(ts), 1_700_000_000_123);
    }
}
