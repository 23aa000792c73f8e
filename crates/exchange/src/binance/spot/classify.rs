//! What an answer that is not a success proves: a data table of HTTP status × code × text.
//!
//! Invariant: `Rejected` only where the venue documents that the request was not executed; everything else (5xx, the codes
//! "execution status unknown", the firewall's 403, an unreadable body, a code we have never seen) is `Unknown` (V-04).

use keel_model::ids::InlineStr;
use keel_model::{Reject, RejectReason, UnknownReason};
use serde::Deserialize;
use std::borrow::Cow;

/// What an answer proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Surely not executed.
    Rejected(RejectReason),
    /// Nothing.
    Unknown(UnknownReason),
}

const fn no(code: i64, reason: RejectReason) -> (i64, Verdict) {
    (code, Verdict::Rejected(reason))
}

const fn unsure(code: i64) -> (i64, Verdict) {
    (code, Verdict::Unknown(UnknownReason::VenueUnsure))
}

use RejectReason::{
    Authentication, BadRequest, DuplicateId, Filter, InstrumentNotTradable, InsufficientFunds, Other, RateLimit,
    Timestamp, TooManyOrders, UnknownOrder, WouldTake, WouldTrigger,
};

/// The codes of the documentation, sorted for the look-up.
pub const CODES: &[(i64, Verdict)] = &[
    no(-2043, BadRequest),   // no reference price
    no(-2042, Other),        // subscription ids used up
    no(-2039, UnknownOrder), // client order id is not that order's
    no(-2036, Other),        // subscription not active
    no(-2035, Other),        // subscription already active
    no(-2026, UnknownOrder), // archived
    unsure(-2022),           // cancel-replace: both halves have answers of their own
    unsure(-2021),           // the same, one half succeeded
    no(-2016, Other),        // no trading window
    no(-2015, Authentication),
    no(-2014, Authentication),
    no(-2013, UnknownOrder),
    no(-2011, Other), // cancel rejected: the text decides
    no(-2010, Other), // new order rejected: the text decides
    no(-1225, BadRequest),
    no(-1224, BadRequest),
    no(-1223, BadRequest),
    no(-1222, BadRequest),
    no(-1221, BadRequest),
    no(-1220, InstrumentNotTradable),
    no(-1211, BadRequest),
    no(-1210, BadRequest),
    no(-1199, BadRequest),
    no(-1198, BadRequest),
    no(-1197, BadRequest),
    no(-1196, BadRequest),
    no(-1194, BadRequest),
    no(-1191, RateLimit), // too many subscriptions
    no(-1190, BadRequest),
    no(-1189, BadRequest),
    no(-1188, BadRequest),
    no(-1187, Authentication),
    no(-1186, Authentication),
    no(-1185, Authentication),
    no(-1184, Authentication),
    no(-1183, Authentication),
    no(-1182, BadRequest),
    no(-1181, RateLimit), // too many messages
    no(-1180, Authentication),
    no(-1179, BadRequest),
    no(-1178, Authentication),
    no(-1177, BadRequest),
    no(-1176, Authentication),
    no(-1175, BadRequest),
    no(-1174, BadRequest),
    no(-1173, BadRequest),
    no(-1172, BadRequest),
    no(-1171, BadRequest),
    no(-1170, BadRequest),
    no(-1169, BadRequest),
    no(-1168, BadRequest),
    no(-1166, BadRequest),
    no(-1165, BadRequest),
    unsure(-1161), // the answer could not be encoded, which says nothing of the request
    no(-1160, BadRequest),
    no(-1158, BadRequest),
    no(-1155, BadRequest),
    no(-1153, BadRequest),
    no(-1152, BadRequest),
    no(-1151, BadRequest),
    no(-1145, BadRequest),
    no(-1139, BadRequest),
    no(-1135, BadRequest),
    no(-1134, BadRequest),
    no(-1131, BadRequest),
    no(-1130, BadRequest),
    no(-1128, BadRequest),
    no(-1127, BadRequest),
    no(-1125, Authentication), // listen key unknown
    no(-1122, BadRequest),
    no(-1121, InstrumentNotTradable),
    no(-1120, BadRequest),
    no(-1119, BadRequest),
    no(-1118, BadRequest),
    no(-1117, BadRequest),
    no(-1116, BadRequest),
    no(-1115, BadRequest),
    no(-1114, BadRequest),
    no(-1112, InstrumentNotTradable), // no orders on the book
    no(-1111, Filter),                // too much precision
    no(-1108, BadRequest),
    no(-1106, BadRequest),
    no(-1105, BadRequest),
    no(-1104, BadRequest),
    no(-1103, BadRequest),
    no(-1102, BadRequest),
    no(-1101, BadRequest),
    no(-1100, BadRequest),
    no(-1035, Authentication),
    no(-1034, RateLimit), // too many connections
    no(-1033, Authentication),
    no(-1022, Authentication), // signature
    no(-1021, Timestamp),
    no(-1020, BadRequest),
    unsure(-1016), // shutting down: nothing says before or after execution
    no(-1015, RateLimit),
    no(-1014, BadRequest),
    no(-1013, BadRequest), // did not reach the matching engine: the text decides
    unsure(-1008),         // overloaded
    unsure(-1007),         // timeout, execution status unknown
    unsure(-1006),         // unexpected response, execution status unknown
    no(-1003, RateLimit),
    no(-1002, Authentication),
    unsure(-1001), // internal error
    unsure(-1000), // unknown error while processing
];

/// What the texts that come with -1013, -2010 and -2011 mean, by their beginning; the first that fits counts.
pub const TEXTS: &[(&str, RejectReason)] = &[
    ("Account has insufficient balance", InsufficientFunds),
    ("Duplicate order sent", DuplicateId),
    ("Order would immediately match and take", WouldTake),
    ("Order would trigger immediately", WouldTrigger),
    ("Stop price would trigger immediately", WouldTrigger),
    ("Unknown order sent", UnknownOrder),
    ("Market is closed", InstrumentNotTradable),
    ("This symbol is not permitted", InstrumentNotTradable),
    ("This symbol is restricted", InstrumentNotTradable),
    ("This account may not place or cancel orders", Authentication),
    ("This action is disabled on this account", Authentication),
    ("Rest API trading is not enabled", Authentication),
    ("FIX API trading is not enabled", Authentication),
    ("Filter failure: MAX_NUM_ORDERS", TooManyOrders),
    ("Filter failure: MAX_NUM_ALGO_ORDERS", TooManyOrders),
    ("Filter failure: MAX_NUM_ICEBERG_ORDERS", TooManyOrders),
    ("Filter failure: MAX_NUM_ORDER_LISTS", TooManyOrders),
    ("Filter failure: MAX_NUM_ORDER_AMENDS", TooManyOrders),
    ("Filter failure: EXCHANGE_MAX_NUM", TooManyOrders),
    ("Filter failure", Filter),
    ("Price * QTY is zero or less", Filter),
    ("Order book liquidity is", InstrumentNotTradable),
    ("Market orders are not supported", BadRequest),
    ("Iceberg orders are not supported", BadRequest),
    ("IcebergQty exceeds QTY", BadRequest),
    ("Stop loss", BadRequest),
    ("Take profit", BadRequest),
    ("Unsupported order combination", BadRequest),
    ("Cancel order is invalid", BadRequest),
    ("Order amend", BadRequest),
    ("Order cancel-replace is not supported", BadRequest),
    ("OCO orders are not supported", BadRequest),
    ("Quote order qty market orders", BadRequest),
    ("Trailing stop orders", BadRequest),
    ("The relationship of the prices", BadRequest),
    ("Pegged orders are not supported", BadRequest),
    ("This order type may not use pegged price", BadRequest),
    ("This price peg cannot be used", BadRequest),
];

/// The code and text of an answer that is not a success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VenueError {
    /// The venue's code, `None` when the body could not be read.
    pub code: Option<i64>,
    /// The venue's words, or the beginning of what could not be read, control characters replaced.
    pub text: String,
}

impl VenueError {
    /// Reads `{"code":-1121,"msg":"Invalid symbol."}`.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body<'a> {
            code: i64,
            #[serde(borrow, default)]
            msg: Cow<'a, str>,
        }
        match serde_json::from_slice::<Body<'_>>(body) {
            Ok(parsed) => Self { code: Some(parsed.code), text: printable(&parsed.msg) },
            Err(_) => Self { code: None, text: excerpt(body) },
        }
    }

    /// As a refusal in the model's words.
    #[must_use]
    pub fn reject(&self, reason: RejectReason) -> Reject {
        Reject { reason, code: self.code.unwrap_or_default(), text: InlineStr::truncated(&self.text) }
    }
}

/// The first bytes of something, for messages: control characters and bad UTF-8 replaced.
#[must_use]
pub fn excerpt(bytes: &[u8]) -> String {
    const LENGTH_MAX: usize = 120;
    printable(&String::from_utf8_lossy(bytes.get(..bytes.len().min(LENGTH_MAX)).unwrap_or_default()))
}

fn printable(text: &str) -> String {
    text.chars().take(240).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// What an answer proves about a request that would change something.
#[must_use]
pub fn classify(status: u16, error: &VenueError) -> Verdict {
    match status {
        // Refused for its rate before it was looked at.
        429 | 418 => Verdict::Rejected(RateLimit),
        400..=499 if status != 403 => match error.code {
            None => keel_model::mutant!(62, Verdict::Unknown(UnknownReason::Unreadable), Verdict::Rejected(Other)),
            Some(code) => by_code(code, &error.text),
        },
        // 403: the firewall, which says nothing of what came through. 5xx: unknown by documentation.
        403 => keel_model::mutant!(60, Verdict::Unknown(UnknownReason::VenueUnsure), Verdict::Rejected(Other)),
        500..=599 => keel_model::mutant!(61, Verdict::Unknown(UnknownReason::VenueUnsure), Verdict::Rejected(Other)),
        // Redirects are not followed; a success that is none was not understood.
        _ => Verdict::Unknown(UnknownReason::Unclassified),
    }
}

/// What a code proves, where the answer has no HTTP status of its own (halves of a cancel-replace).
#[must_use]
pub fn by_code(code: i64, text: &str) -> Verdict {
    let row = CODES.binary_search_by_key(&code, |(known, _)| *known).ok().and_then(|at| CODES.get(at));
    match row {
        Some((-1006 | -1007, _)) if keel_model::mutant!(63, false, true) => Verdict::Rejected(Other),
        None => Verdict::Unknown(UnknownReason::Unclassified),
        Some((-2010 | -2011 | -1013, Verdict::Rejected(fallback))) => {
            let known = TEXTS.iter().find(|(beginning, _)| text.starts_with(beginning));
            Verdict::Rejected(known.map_or(*fallback, |(_, reason)| *reason))
        }
        Some((_, verdict)) => *verdict,
    }
}

#[cfg(test)]
mod tests;
