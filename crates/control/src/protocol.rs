//! What goes over the socket: one JSON line each way.
//!
//! A line names the version of the protocol first of all; a server that does not know it says which one it knows. Unknown
//! verbs and unknown fields are refused, not guessed.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Version of the protocol that this program speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// The longest request; unit: bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest answer; unit: bytes.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The longest wait for confirmation that may be asked for.
pub const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Ask {
    /// How things stand.
    Status {},
    /// Nothing new that adds exposure; open orders stay.
    Pause {},
    /// Trade again.
    Resume {},
    /// As pause, and open orders that would add exposure are cancelled.
    ReduceOnly {},
    /// Cancel one order of ours.
    Cancel {
        /// Its client order id.
        order: String,
    },
    /// Cancel every order of ours.
    CancelAll {},
    /// Cancel orders and close positions while running; stays without new exposure until it is resumed.
    Flatten {
        /// Only this instrument.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instrument: Option<String>,
    },
    /// Stop trading now: latch, cancel everything of ours, close positions.
    EmergencyStop {
        /// Why, for the record.
        reason: String,
    },
    /// Lift the latch of an emergency stop or of a breaker.
    Rearm {
        /// Why it may go on, for the record.
        reason: String,
    },
    /// Trading may add exposure again on an instrument that is held.
    Release {
        /// Which.
        instrument: String,
    },
    /// Say what became of an order that the venue cannot tell about.
    Settle {
        /// Its client order id.
        order: String,
        /// What it filled in all, as a decimal number.
        filled: String,
        /// At which average price; none when nothing was filled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price: Option<String>,
    },
    /// Stop in order and end the process.
    Stop {
        /// Hurry: optional steps are cut; orders are still cancelled.
        force: bool,
    },
    /// What the process holds: descriptors, memory, tasks, leases.
    Resources {},
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Version of the protocol.
    pub protocol: u32,
    /// What is asked for.
    pub ask: Ask,
    /// How long the answer may wait for confirmation; unit: milliseconds.
    pub timeout_ms: u64,
}

impl Request {
    /// A request of this program's version; a wait beyond [`WAIT_MAX`] is cut to it.
    #[must_use]
    pub fn new(ask: Ask, timeout: Duration) -> Self {
        let timeout_ms = u64::try_from(timeout.min(WAIT_MAX).as_millis()).unwrap_or(u64::MAX);
        Self { protocol: PROTOCOL_VERSION, ask, timeout_ms }
    }

    /// How long the answer may wait for confirmation.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms).min(WAIT_MAX)
    }

    /// Reads a line. The error is for whoever asked.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            protocol: u32,
        }
        // A list would do for a struct, too.
        if !line.trim_ascii_start().starts_with(b"{") {
            return Err("the request is not one JSON object a line".to_owned());
        }
        let versioned: Versioned = serde_json::from_slice(line)
            .map_err(|error| format!("the request is not one JSON object a line: {error}"))?;
        if versioned.protocol != PROTOCOL_VERSION {
            return Err(format!(
                "the request speaks protocol {}, this bot speaks {PROTOCOL_VERSION}; use the launcher that the bot was started with",
                versioned.protocol
            ));
        }
        serde_json::from_slice(line).map_err(|error| format!("the request is not understood: {error}"))
    }
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Done, as far as it was to be done; confirmed by whoever has the say (the engine, the venue).
    Confirmed,
    /// Under way; not everything is confirmed yet.
    Open,
    /// Not done, and nothing of it is under way.
    Refused,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Version of the protocol.
    pub protocol: u32,
    /// How far it has come.
    pub outcome: Outcome,
    /// What was asked, in words.
    pub asked: String,
    /// What is confirmed so far.
    pub confirmed: Vec<String>,
    /// What is not, or why it was refused.
    pub open: Vec<String>,
    /// Figures, by verb.
    #[serde(default)]
    pub detail: serde_json::Value,
}

impl Answer {
    /// An answer.
    #[must_use]
    pub fn new(outcome: Outcome, asked: impl Into<String>) -> Self {
        Self {
            protocol: PROTOCOL_VERSION,
            outcome,
            asked: asked.into(),
            confirmed: Vec::new(),
            open: Vec::new(),
            detail: serde_json::Value::Null,
        }
    }

    /// A refusal with its reason.
    #[must_use]
    pub fn refused(asked: impl Into<String>, why: impl Into<String>) -> Self {
        Self { open: vec![why.into()], ..Self::new(Outcome::Refused, asked) }
    }

    /// Adds something that is confirmed.
    #[must_use]
    pub fn with_confirmed(mut self, what: impl Into<String>) -> Self {
        self.confirmed.push(what.into());
        self
    }

    /// Adds something that is not.
    #[must_use]
    pub fn with_open(mut self, what: impl Into<String>) -> Self {
        self.open.push(what.into());
        self
    }

    /// The line; one that is too long is cut to its words, without its figures.
    pub(crate) fn line(&self) -> Vec<u8> {
        let encode = |answer: &Self| {
            let mut line = serde_json::to_vec(answer).unwrap_or_else(|error| {
                format!("{{\"protocol\":{PROTOCOL_VERSION},\"outcome\":\"refused\",\"asked\":\"\",\"confirmed\":[],\"open\":[{:?}]}}", error.to_string()).into_bytes()
            });
            line.push(b'\n');
            line
        };
        let line = encode(self);
        if line.len() <= ANSWER_BYTES_MAX {
            return line;
        }
        let note = format!("the whole answer has {} bytes, more than may be sent", line.len());
        encode(&Self { confirmed: Vec::new(), open: vec![note], detail: serde_json::Value::Null, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_way_and_the_wait_is_bounded() {
        for ask in [
            Ask::Status {},
            Ask::Flatten { instrument: None },
            Ask::Flatten { instrument: Some("BTCUSDT".into()) },
            Ask::Settle { order: "k1-2-3".into(), filled: "0.5".into(), price: None },
            Ask::Stop { force: true },
        ] {
            let request = Request::new(ask, Duration::from_secs(1_000_000));
            let line = serde_json::to_vec(&request).unwrap();
            assert_eq!(Request::parse(&line).unwrap(), request);
            assert_eq!(request.timeout(), WAIT_MAX);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_and_never_guessed() {
        for (line, says) in [
            ("", "not one JSON object"),
            ("{}", "protocol"),
            ("[1]", "not one JSON object"),
            (r#"{"protocol":2,"ask":{"verb":"status"},"timeout_ms":1}"#, "this bot speaks 1"),
            (r#"{"protocol":1,"ask":{"verb":"launch"},"timeout_ms":1}"#, "launch"),
            (r#"{"protocol":1,"ask":{"verb":"stop"},"timeout_ms":1}"#, "force"),
            (r#"{"protocol":1,"ask":{"verb":"pause","now":true},"timeout_ms":1}"#, "now"),
            (r#"{"protocol":1,"ask":{"verb":"status"},"timeout_ms":1,"x":2}"#, "x"),
            (r#"{"protocol":1,"ask":{"verb":"status"},"timeout_ms":-1}"#, "-1"),
        ] {
            let message = Request::parse(line.as_bytes()).unwrap_err();
            assert!(message.contains(says), "{line}: {message}");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_is_cut_and_says_so() {
        let long = Answer::new(Outcome::Confirmed, "status").with_confirmed("x".repeat(ANSWER_BYTES_MAX));
        let line = long.line();
        assert!(line.len() < 1_000);
        let read: Answer = serde_json::from_slice(&line).unwrap();
        assert!(read.open[0].contains("more than may be sent"), "{read:?}");
    }
}
