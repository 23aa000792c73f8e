//! Errors as the venue's clients see them: HTTP status, Binance's code and Binance's documented words.
//! Nothing here stops the venue; its own failures are [`crate::VenueError`].

use crate::json::{Json, TimeUnit};
use std::borrow::Cow;

/// A refusal in the venue's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// HTTP status, also the status of WebSocket API answers.
    pub(crate) status: u16,
    /// Binance's code.
    pub(crate) code: i32,
    /// Binance's words.
    pub(crate) msg: Cow<'static, str>,
    /// The `data` member as JSON (cancelReplace, rate limits on the WebSocket API).
    pub(crate) data: Option<String>,
    /// Seconds for the `Retry-After` header.
    pub(crate) retry_after_s: Option<u64>,
}

impl ApiError {
    /// A 400 with a code and words.
    pub(crate) fn new(code: i32, msg: impl Into<Cow<'static, str>>) -> Self {
        Self { status: 400, code, msg: msg.into(), data: None, retry_after_s: None }
    }

    /// The same with another status.
    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// -1102.
    pub(crate) fn mandatory(name: &str) -> Self {
        Self::new(-1102, format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed."))
    }

    /// -1102 for one of two.
    pub(crate) fn one_of(a: &str, b: &str) -> Self {
        Self::new(-1102, format!("Param '{a}' or '{b}' must be sent, but both were empty/null!"))
    }

    /// -1105.
    pub(crate) fn empty(name: &str) -> Self {
        Self::new(-1105, format!("Parameter '{name}' was empty."))
    }

    /// -1106.
    pub(crate) fn not_required(name: &str) -> Self {
        Self::new(-1106, format!("Parameter '{name}' sent when not required."))
    }

    /// -1100.
    pub(crate) fn illegal(name: &str, range: &str) -> Self {
        Self::new(-1100, format!("Illegal characters found in parameter '{name}'; legal range is '{range}'."))
    }

    /// -1111.
    pub(crate) fn precision(name: &str) -> Self {
        Self::new(-1111, format!("Parameter '{name}' has too much precision."))
    }

    /// -1108.
    pub(crate) fn overflow(name: &str) -> Self {
        Self::new(-1108, format!("Parameter '{name}' overflowed."))
    }

    /// -1130.
    pub(crate) fn invalid(name: &str) -> Self {
        Self::new(-1130, format!("Data sent for parameter '{name}' is not valid."))
    }

    /// -1121.
    pub(crate) fn bad_symbol() -> Self {
        Self::new(-1121, "Invalid symbol.")
    }

    /// -2014.
    pub(crate) fn key_format() -> Self {
        Self::new(-2014, "API-key format invalid.").with_status(401)
    }

    /// -2015.
    pub(crate) fn rejected_key() -> Self {
        Self::new(-2015, "Invalid API-key, IP, or permissions for action.").with_status(401)
    }

    /// -1022.
    pub(crate) fn signature() -> Self {
        Self::new(-1022, "Signature for this request is not valid.")
    }

    /// -1128.
    pub(crate) fn bad_combination() -> Self {
        Self::new(-1128, "Combination of optional parameters invalid.")
    }

    /// -1000, for what the venue itself got wrong.
    pub(crate) fn internal() -> Self {
        Self::new(-1000, "An unknown error occurred while processing the request.").with_status(500)
    }

    /// `{"code":…,"msg":…}`.
    pub(crate) fn body(&self) -> String {
        Json::object(TimeUnit::Milliseconds, |j| self.write(j))
    }

    /// Writes the members of the error object.
    pub(crate) fn write(&self, j: &mut Json) {
        j.num("code", self.code);
        j.str("msg", &self.msg);
        if let Some(data) = &self.data {
            j.raw("data", data);
        }
    }
}

impl From<keel_sim::Reject> for ApiError {
    fn from(reject: keel_sim::Reject) -> Self {
        let (code, msg) = reject.binance();
        Self::new(code, msg)
    }
}
