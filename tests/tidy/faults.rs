//! The fault catalogue is kept: every fault id and risk control is part of the name of at least one test, or stands in the list
//! of what is not there yet, with its reason. The list only gets shorter: an id that has a test may not stand in it.

use crate::rust_files;
use std::collections::BTreeSet;

/// Families of the catalogue and their last number: network, venue, time, process, disk, stop, operator, risk control.
const FAMILIES: &[(&str, u32)] =
    &[("n", 20), ("v", 26), ("t", 4), ("p", 21), ("d", 9), ("s", 10), ("o", 6), ("rc", 24)];

/// Ids without a test, and why.
const NOT_YET: &[(&str, &str)] =
    &[("v-22", "position mode and leverage are of derivatives; the adapters there are trade spot, which has neither")];

/// The ids in a function's name: `rc_08_and_o_03_…` has two; `v01_…` is read as `v_01_…`.
fn ids_in(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('_').collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let number = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        for (family, _) in FAMILIES {
            let joined = word.strip_prefix(family).is_some_and(number);
            let apart = word == family && words.get(at + 1).is_some_and(|next| number(next));
            if joined || apart {
                let digits = if joined { &word[family.len()..] } else { words[at + 1] };
                found.push(format!("{family}-{digits}"));
            }
        }
    }
    found
}

/// Names of all functions that stand below a test attribute.
fn test_names(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
            return None;
        }
        let after = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "));
        let is_named = std::mem::take(&mut is_test);
        after.filter(|_| is_named).and_then(|rest| rest.split('(').next())
    })
}

#[test]
fn every_fault_and_every_risk_control_is_the_name_of_a_test() {
    let mut covered = BTreeSet::new();
    for (_, text) in rust_files() {
        covered.extend(test_names(&text).flat_map(ids_in));
    }
    let mut wanted = Vec::new();
    for (family, last) in FAMILIES {
        wanted.extend((1..=*last).map(|number| format!("{family}-{number:02}")));
    }
    let excused = |id: &String| NOT_YET.iter().any(|(open, _)| open == id);
    let missing: Vec<_> = wanted.iter().filter(|id| !covered.contains(*id) && !excused(id)).collect();
    assert!(missing.is_empty(), "{} ids without a test: {missing:?}", missing.len());
    let done: Vec<_> = NOT_YET.iter().filter(|(id, _)| covered.contains(*id)).collect();
    assert!(done.is_empty(), "these have a test now; take them off the list: {done:?}");
}

#[test]
fn ids_are_read_from_names() {
    assert_eq!(ids_in("rc_08_and_o_03_a_runaway_strategy"), ["rc-08", "o-03"]);
    assert_eq!(ids_in("v01_an_unknown_outcome"), ["v-01"]);
    assert!(ids_in("version_2_of_04").is_empty());
}
