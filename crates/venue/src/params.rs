//! Parameters of a request: query string, urlencoded body or the `params` object of the WebSocket API, with the checks and
//! the error texts of the real venue.
//!
//! Every read is noted, so that a parameter nobody asked for is refused (-1104) before anything is done.

use crate::api_error::ApiError;
use keel_model::{Price, Quantity, Timestamp};
use keel_sim::ClientId;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most parameters in one request.
pub(crate) const PARAMS_MAX: usize = 64;
/// Most decimal places in a number.
const PLACES_MAX: u8 = 8;

const SYMBOL_RANGE: &str = "^[A-Z0-9-_.]{1,20}$";
const ID_RANGE: &str = r"^[\.A-Z\:/a-z0-9_-]{1,36}$";
const INT_RANGE: &str = "^[0-9]{1,20}$";
const DECIMAL_RANGE: &str = r"^([0-9]{1,20})(\.[0-9]{1,20})?$";

/// The parameters of one request, in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Params {
    list: Vec<(String, String)>,
    /// One bit per parameter; atomic so that a request may wait on any thread.
    read: AtomicU64,
}

impl Params {
    /// From a query string and a urlencoded body; where both have a name, the query string counts.
    pub(crate) fn parse(query: &str, body: &str) -> Result<Self, ApiError> {
        let mut list: Vec<(String, String)> = Vec::with_capacity(12);
        for (at, source) in [query, body].into_iter().enumerate() {
            let before = list.len();
            for pair in source.split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let (name, value) = (decode(name)?, decode(value)?);
                if list.iter().skip(before).any(|(other, _)| *other == name) {
                    return Err(ApiError::new(-1101, "Duplicate values for a parameter detected."));
                }
                if at == 1 && list.iter().take(before).any(|(other, _)| *other == name) {
                    continue;
                }
                if list.len() >= PARAMS_MAX {
                    return Err(ApiError::new(-1101, "Too many parameters sent for this endpoint."));
                }
                list.push((name.into_owned(), value.into_owned()));
            }
        }
        Ok(Self { list, read: AtomicU64::new(0) })
    }

    /// From the `params` object of the WebSocket API. Values keep the text they came with.
    pub(crate) fn from_json(map: &BTreeMap<String, Box<RawValue>>) -> Result<Self, ApiError> {
        if map.len() > PARAMS_MAX {
            return Err(ApiError::new(-1101, "Too many parameters sent for this endpoint."));
        }
        let list = map.iter().map(|(name, value)| (name.clone(), json_text(value.get()))).collect();
        Ok(Self { list, read: AtomicU64::new(0) })
    }

    /// The raw value, without noting it as read.
    pub(crate) fn peek(&self, name: &str) -> Option<&str> {
        self.list.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// How many parameters there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    fn get(&self, name: &str) -> Option<&str> {
        let at = self.list.iter().position(|(other, _)| other == name)?;
        self.read.fetch_or(1 << at, Ordering::Relaxed);
        self.list.get(at).map(|(_, value)| value.as_str())
    }

    /// Notes parameters as read that this venue takes and does not use.
    pub(crate) fn ignore(&self, names: &[&str]) {
        for name in names {
            let _value = self.get(name);
        }
    }

    /// An optional text; empty is an error.
    pub(crate) fn opt(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.get(name) {
            Some("") => Err(ApiError::empty(name)),
            other => Ok(other),
        }
    }

    /// A mandatory text.
    pub(crate) fn req(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| ApiError::mandatory(name))
    }

    /// An optional whole number.
    pub(crate) fn opt_u64(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(text) = self.opt(name)? else { return Ok(None) };
        if text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ApiError::illegal(name, INT_RANGE));
        }
        text.parse().map(Some).map_err(|_| ApiError::overflow(name))
    }

    /// A mandatory whole number.
    pub(crate) fn req_u64(&self, name: &str) -> Result<u64, ApiError> {
        self.req(name)?;
        self.opt_u64(name)?.ok_or_else(|| ApiError::mandatory(name))
    }

    /// An optional time, in milliseconds or microseconds.
    pub(crate) fn opt_time(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        Ok(self.opt_u64(name)?.map(time_of))
    }

    /// An optional number of rows.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        match self.opt_u64("limit")? {
            None => Ok(default),
            Some(0) => Err(ApiError::new(-1130, "Data sent for parameter 'limit' is not valid.")),
            Some(limit) => Ok(usize::try_from(limit).unwrap_or(max).min(max)),
        }
    }

    /// An optional truth value.
    pub(crate) fn opt_bool(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.opt(name)? {
            None => Ok(None),
            Some("true" | "TRUE" | "True") => Ok(Some(true)),
            Some("false" | "FALSE" | "False") => Ok(Some(false)),
            Some(_) => Err(ApiError::illegal(name, "^(true|false)$")),
        }
    }

    fn decimal_text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        let Some(text) = self.opt(name)? else { return Ok(None) };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| (1..=20).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err(ApiError::illegal(name, DECIMAL_RANGE));
        }
        if fraction.trim_end_matches('0').len() > usize::from(PLACES_MAX) {
            return Err(ApiError::precision(name));
        }
        Ok(Some(text))
    }

    /// An optional price.
    pub(crate) fn opt_price(&self, name: &str) -> Result<Option<Price>, ApiError> {
        let Some(text) = self.decimal_text(name)? else { return Ok(None) };
        Price::parse_bytes(text.as_bytes()).map(|value| Some(value.normalized())).map_err(|_| ApiError::overflow(name))
    }

    /// An optional quantity.
    pub(crate) fn opt_quantity(&self, name: &str) -> Result<Option<Quantity>, ApiError> {
        let Some(text) = self.decimal_text(name)? else { return Ok(None) };
        Quantity::parse_bytes(text.as_bytes())
            .map(|value| Some(value.normalized()))
            .map_err(|_| ApiError::overflow(name))
    }

    /// A mandatory quantity.
    pub(crate) fn req_quantity(&self, name: &str) -> Result<Quantity, ApiError> {
        self.req(name)?;
        self.opt_quantity(name)?.ok_or_else(|| ApiError::mandatory(name))
    }

    /// An optional client order id; empty when it was not sent.
    pub(crate) fn client_id(&self, name: &str) -> Result<ClientId, ApiError> {
        let Some(text) = self.opt(name)? else { return Ok(ClientId::EMPTY) };
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'/' | b'_' | b'-');
        if text.len() > 36 || !text.bytes().all(legal) {
            return Err(ApiError::illegal(name, ID_RANGE));
        }
        ClientId::new(text).map_err(|_| ApiError::illegal(name, ID_RANGE))
    }

    /// A mandatory symbol.
    pub(crate) fn req_symbol(&self) -> Result<&str, ApiError> {
        let text = self.req("symbol")?;
        check_symbol("symbol", text)?;
        Ok(text)
    }

    /// An optional symbol.
    pub(crate) fn opt_symbol(&self) -> Result<Option<&str>, ApiError> {
        let Some(text) = self.opt("symbol")? else { return Ok(None) };
        check_symbol("symbol", text)?;
        Ok(Some(text))
    }

    /// An optional list, as a JSON array or as one plain word.
    pub(crate) fn opt_list(&self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(text) = self.opt(name)? else { return Ok(None) };
        if !text.starts_with('[') {
            return Ok(Some(vec![text.to_owned()]));
        }
        let list: Vec<String> = serde_json::from_str(text)
            .map_err(|_| ApiError::new(-1135, format!("JSON sent for parameter '{name}' is not valid")))?;
        if list.is_empty() {
            return Err(ApiError::empty(name));
        }
        Ok(Some(list))
    }

    /// Refuses parameters that nobody asked for.
    pub(crate) fn finish(&self) -> Result<(), ApiError> {
        let read = self.read.load(Ordering::Relaxed).count_ones() as usize;
        if read == self.list.len() {
            return Ok(());
        }
        let sent = self.list.len();
        Err(ApiError::new(
            -1104,
            format!("Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'."),
        ))
    }
}

/// Refuses text that cannot be a symbol.
pub(crate) fn check_symbol(name: &str, text: &str) -> Result<(), ApiError> {
    let legal = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    if text.len() > 20 || !text.bytes().all(legal) {
        return Err(ApiError::illegal(name, SYMBOL_RANGE));
    }
    Ok(())
}

/// A time given in milliseconds or, when it is that large, in microseconds.
pub(crate) const fn time_of(value: u64) -> Timestamp {
    if value >= 100_000_000_000_000 { Timestamp::from_us(value) } else { Timestamp::from_ms(value) }
}

/// Decodes `%XX` and `+`.
fn decode(text: &str) -> Result<Cow<'_, str>, ApiError> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| ApiError::new(-1100, "Illegal characters found in a parameter."))?;
    Ok(Cow::Owned(decoded.into_owned()))
}

/// A JSON value as a parameter's text: strings without quotes, everything else as it was written.
pub(crate) fn json_text(raw: &str) -> String {
    match serde_json::from_str::<String>(raw) {
        Ok(text) => text,
        Err(_) if raw == "null" => String::new(),
        Err(_) => raw.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_counts_before_body_and_values_are_decoded() {
        let params = Params::parse("symbol=BTCUSDT&a=%5B%22X%22%5D", "side=BUY&symbol=ETHUSDT&note=a+b").unwrap();
        assert_eq!(params.len(), 4);
        assert_eq!(params.req_symbol().unwrap(), "BTCUSDT");
        assert_eq!(params.opt_list("a").unwrap().unwrap(), ["X"]);
        assert_eq!(params.opt("note").unwrap(), Some("a b"));
        let error = params.finish().unwrap_err();
        assert_eq!(error.code, -1104);
        assert_eq!(error.msg, "Not all sent parameters were read; read '3' parameter(s) but was sent '4'.");
    }

    #[test]
    fn bad_values_are_named_in_the_venues_words() {
        let params = Params::parse("q=1e5&p=0.000000001&t=-1&e=&s=btc&id=a%20b&n=1.500000000000", "").unwrap();
        assert_eq!(params.opt_quantity("q").unwrap_err().code, -1100);
        assert_eq!(params.opt_price("p").unwrap_err().msg, "Parameter 'p' has too much precision.");
        assert_eq!(params.opt_u64("t").unwrap_err().code, -1100);
        assert_eq!(params.opt("e").unwrap_err().msg, "Parameter 'e' was empty.");
        assert_eq!(params.req("x").unwrap_err().code, -1102);
        assert_eq!(params.client_id("id").unwrap_err().code, -1100);
        assert_eq!(params.opt_quantity("n").unwrap().unwrap().to_string(), "1.5");
        assert_eq!(Params::parse("a=1&a=2", "").unwrap_err().code, -1101);
        assert_eq!(check_symbol("symbol", "btc").unwrap_err().code, -1100);
    }

    #[test]
    fn times_may_be_in_microseconds() {
        assert_eq!(time_of(1_700_000_000_000).as_ms(), 1_700_000_000_000);
        assert_eq!(time_of(1_700_000_000_000_000).as_ms(), 1_700_000_000_000);
    }
}
