//! Tests of the classifier, row by row against the documentation and the independent oracle.

use super::*;
use crate::binance::spot::testing::{fixture_lines, venue_table};

fn check(status: u16, body: &str, expected: Verdict) {
    assert_eq!(classify(status, &VenueError::read(body.as_bytes())), expected, "{status} {body}");
}

const UNSURE: Verdict = Verdict::Unknown(UnknownReason::VenueUnsure);

#[test]
fn the_table_is_sorted_and_has_each_code_once() {
    assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn v04_every_documented_code_has_a_row_and_only_unsure_ones_are_unknown() {
    let Some(table) = venue_table("errors.json") else { return };
    let mut rows = 0;
    for row in table["codes"].as_array().unwrap() {
        let code = row["code"].as_i64().unwrap();
        let text = row["messages"][0].as_str().unwrap();
        let body = serde_json::json!({ "code": code, "msg": text }).to_string();
        let verdict = classify(400, &VenueError::read(body.as_bytes()));
        let is_unsure = matches!(code, -1000 | -1001 | -1006 | -1007 | -1008 | -1016 | -1161 | -2021 | -2022);
        assert_eq!(matches!(verdict, Verdict::Unknown(_)), is_unsure, "{code} {text}: {verdict:?}");
        assert_ne!(verdict, Verdict::Unknown(UnknownReason::Unclassified), "{code} is not in the table");
        // The same code with a 5xx proves nothing.
        assert_eq!(classify(503, &VenueError::read(body.as_bytes())), UNSURE);
        rows += 1;
    }
    assert!(rows > 90, "{rows}");
}

#[test]
fn every_documented_engine_and_filter_message_has_a_meaning() {
    let Some(table) = venue_table("errors.json") else { return };
    let mut other = Vec::new();
    for key in ["engine_messages", "filter_failures"] {
        for row in table[key].as_array().unwrap().iter().filter(|row| row["msg"] != "code") {
            let text = row["msg"].as_str().unwrap();
            match by_code(-2010, text) {
                Verdict::Rejected(RejectReason::Other) => other.push(text.to_owned()),
                Verdict::Rejected(_) => {}
                Verdict::Unknown(reason) => panic!("{text}: {reason:?}"),
            }
        }
    }
    // Definitive, but nothing that would be handled in a way of its own.
    other.sort();
    assert_eq!(
        other,
        ["Order was not canceled due to cancel restrictions.", "The requested action would change no state; rejecting"]
    );
}

#[test]
fn v04_what_proves_nothing_is_unknown() {
    for status in [500, 501, 502, 503, 504, 599] {
        check(status, r#"{"code":-2010,"msg":"Account has insufficient balance for requested action."}"#, UNSURE);
        check(status, "<html>Bad gateway</html>", UNSURE);
    }
    check(403, "<html>Request blocked</html>", UNSURE);
    check(403, r#"{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}"#, UNSURE);
    check(400, "", Verdict::Unknown(UnknownReason::Unreadable));
    check(400, "\u{0}\u{1}", Verdict::Unknown(UnknownReason::Unreadable));
    check(400, r#"{"code":"x"}"#, Verdict::Unknown(UnknownReason::Unreadable));
    check(400, r#"{"code":-9999,"msg":"new"}"#, Verdict::Unknown(UnknownReason::Unclassified));
    check(307, "", Verdict::Unknown(UnknownReason::Unclassified));
    check(100, "", Verdict::Unknown(UnknownReason::Unclassified));
    for code in [-1000, -1001, -1006, -1007, -1008] {
        check(400, &format!(r#"{{"code":{code},"msg":"x"}}"#), UNSURE);
    }
}

#[test]
fn t01_v15_what_is_surely_not_executed_is_rejected() {
    check(400, r#"{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}"#, {
        Verdict::Rejected(RejectReason::Timestamp)
    });
    check(429, r#"{"code":-1003,"msg":"Too much request weight used"}"#, Verdict::Rejected(RejectReason::RateLimit));
    check(429, r#"{"code":-1015,"msg":"Too many new orders."}"#, Verdict::Rejected(RejectReason::RateLimit));
    check(418, "banned", Verdict::Rejected(RejectReason::RateLimit));
    check(400, r#"{"code":-2010,"msg":"Account has insufficient balance for requested action."}"#, {
        Verdict::Rejected(RejectReason::InsufficientFunds)
    });
    check(400, r#"{"code":-1013,"msg":"Filter failure: LOT_SIZE"}"#, Verdict::Rejected(RejectReason::Filter));
    check(400, r#"{"code":-2010,"msg":"Filter failure: MAX_NUM_ALGO_ORDERS"}"#, {
        Verdict::Rejected(RejectReason::TooManyOrders)
    });
    check(400, r#"{"code":-2010,"msg":"Order would immediately match and take."}"#, {
        Verdict::Rejected(RejectReason::WouldTake)
    });
    check(400, r#"{"code":-2011,"msg":"Unknown order sent."}"#, Verdict::Rejected(RejectReason::UnknownOrder));
    check(401, r#"{"code":-2015,"msg":"Invalid API-key"}"#, Verdict::Rejected(RejectReason::Authentication));
}

/// The independent oracle knows error classes; ours must not call an outage a refusal or the other way round.
#[test]
fn agrees_with_the_independent_error_classes_on_spot_codes() {
    let Some(lines) = fixture_lines("errors.jsonl") else { return };
    let mut checked = 0;
    for row in lines.iter().filter(|row| row["exchange"] == "binance" && row["scope"] == "spot/exact") {
        let Some(code) = row["key"].as_str().and_then(|key| key.parse::<i64>().ok()) else { continue };
        let Verdict::Rejected(reason) = by_code(code, "") else { continue };
        let classes: Vec<&str> =
            row["ancestors"].as_array().unwrap().iter().filter_map(|class| class.as_str()).collect();
        checked += 1;
        match reason {
            RejectReason::InsufficientFunds => assert!(classes.contains(&"InsufficientFunds"), "{row}"),
            RejectReason::Authentication => {
                assert!(
                    classes.iter().any(|c| ["AuthenticationError", "PermissionDenied", "OperationFailed"].contains(c)),
                    "{row}"
                );
            }
            _ => assert!(!classes.contains(&"RequestTimeout") && !classes.contains(&"NetworkError"), "{row}"),
        }
    }
    assert!(checked >= 3, "{checked}");
}

#[test]
fn texts_in_errors_are_printable_and_bounded() {
    let error = VenueError::read(&[&b"\x1b[31m"[..], &[0xff; 4_000][..]].concat());
    assert_eq!(error.code, None);
    assert!(error.text.chars().all(|c| !c.is_control()) && error.text.len() < 1_000);
    let long = format!(r#"{{"code":-2010,"msg":"{}\u0007"}}"#, "x".repeat(5_000));
    let error = VenueError::read(long.as_bytes());
    assert!(error.text.chars().count() <= 240);
    assert_eq!(error.reject(RejectReason::Other).code, -2010);
}
