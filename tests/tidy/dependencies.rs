//! Dependencies run downward only, and nothing of the pure wing knows the outer one.

use crate::root;
use std::collections::{BTreeMap, BTreeSet};

/// Who may use whom; the map of ARCHITECTURE.md. A crate that is not named here may not exist.
const MAY_USE: &[(&str, &[&str])] = &[
    ("keel-model", &[]),
    ("keel-lifecycle", &[]),
    ("keel-marketdata", &["keel-model"]),
    ("keel-sim", &["keel-model", "keel-marketdata"]),
    ("keel-risk", &["keel-model"]),
    ("keel-execution", &["keel-model", "keel-risk"]),
    ("keel-strategy", &["keel-model", "keel-marketdata"]),
    ("keel-engine", &["keel-model", "keel-marketdata", "keel-strategy", "keel-risk", "keel-execution"]),
    ("keel-exchange", &["keel-model", "keel-marketdata", "keel-lifecycle"]),
    ("keel-venue", &["keel-model", "keel-marketdata", "keel-sim", "keel-lifecycle"]),
    ("keel-store", &["keel-model", "keel-lifecycle"]),
    // The pure order machine folds the journal into rows, so that a row says what the engine said.
    ("keel-database", &["keel-model", "keel-lifecycle", "keel-store", "keel-execution"]),
    ("keel-control", &["keel-lifecycle"]),
    ("keel-observe", &["keel-lifecycle", "keel-control"]),
    (
        "keel-gateway",
        &[
            "keel-model",
            "keel-marketdata",
            "keel-lifecycle",
            "keel-engine",
            "keel-execution",
            "keel-risk",
            "keel-store",
            "keel-exchange",
            "keel-sim",
        ],
    ),
    (
        "keel-backtest",
        &["keel-model", "keel-marketdata", "keel-sim", "keel-engine", "keel-strategy", "keel-risk", "keel-execution"],
    ),
    ("keel-faultproxy", &["keel-lifecycle"]),
    ("keel-crashtest", &["keel-model", "keel-lifecycle", "keel-store"]),
    ("keel-report", &[]),
    ("keel-sweep", &["keel-marketdata", "keel-strategy"]),
    ("keel-catalogue", &["keel-model", "keel-marketdata"]),
    ("keel-history", &["keel-marketdata", "keel-lifecycle", "keel-catalogue"]),
    ("keel", &["keel-model", "keel-marketdata", "keel-strategy"]),
    (
        "keel-proof",
        &[
            "keel-model",
            "keel-marketdata",
            "keel-lifecycle",
            "keel-engine",
            "keel-execution",
            "keel-risk",
            "keel-strategy",
            "keel-store",
            "keel-exchange",
            "keel-venue",
            "keel-sim",
            "keel-gateway",
        ],
    ),
    (
        "keel-launcher",
        &[
            "keel-model",
            "keel-marketdata",
            "keel-lifecycle",
            "keel-engine",
            "keel-execution",
            "keel-risk",
            "keel-strategy",
            "keel-store",
            "keel-database",
            "keel-exchange",
            "keel-venue",
            "keel-sim",
            "keel-gateway",
            "keel-backtest",
            "keel-control",
            "keel-observe",
            "keel-report",
            "keel-sweep",
            "keel-catalogue",
            "keel-history",
        ],
    ),
];

/// Crates that decide: no async, no IO, no runtime, no clock.
pub(crate) const PURE: &[&str] = &["model", "marketdata", "sim", "risk", "execution", "strategy", "engine"];

/// What a pure crate may take from outside: data structures, derives, checksums.
// rmp-serde: turns the state into bytes and back, slices in and values out; the bytes are written by others.
const PURE_MAY_TAKE: &[&str] = &["serde", "thiserror", "sha2", "hex", "indexmap", "memchr", "rmp-serde"];

fn manifests() -> BTreeMap<String, toml::Table> {
    let mut manifests = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("crates")).expect("crates/") {
        let path = entry.expect("entry").path().join("Cargo.toml");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = table["package"]["name"].as_str().expect("a package name").to_owned();
        manifests.insert(name, table);
    }
    manifests
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    manifest
        .get("dependencies")
        .and_then(toml::Value::as_table)
        .map(|t| t.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn dependencies_run_downward_only() {
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let manifests = manifests();
    for (name, manifest) in &manifests {
        let may = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("{name} is not on the map: add it to ARCHITECTURE.md and here"));
        for dependency in dependencies(manifest).iter().filter(|d| d.starts_with("keel")) {
            assert!(may.contains(&dependency.as_str()), "{name} may not use {dependency}: arrows run downward only");
        }
    }
    for (name, _) in MAY_USE {
        assert!(manifests.contains_key(*name), "{name} is on the map but not in crates/");
    }
}

#[test]
fn the_map_has_no_cycle_and_names_each_crate_before_its_users() {
    let mut seen = BTreeSet::new();
    let mut waiting: Vec<_> = MAY_USE.to_vec();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|(name, uses)| {
            let ready = uses.iter().all(|used| seen.contains(used));
            if ready {
                seen.insert(*name);
            }
            !ready
        });
        assert!(waiting.len() < before, "a cycle among {:?}", waiting.iter().map(|(name, _)| name).collect::<Vec<_>>());
    }
}

#[test]
fn the_pure_wing_takes_no_runtime_and_no_io_from_outside() {
    for (name, manifest) in manifests() {
        let Some(short) = name.strip_prefix("keel-") else { continue };
        if !PURE.contains(&short) {
            continue;
        }
        for dependency in dependencies(&manifest).iter().filter(|d| !d.starts_with("keel")) {
            assert!(
                PURE_MAY_TAKE.contains(&dependency.as_str()),
                "{name} is pure and may not use {dependency}; if it is data only, add it to PURE_MAY_TAKE with a reason"
            );
        }
    }
}

#[test]
fn every_crate_keeps_the_workspace_lints() {
    for (name, manifest) in manifests() {
        let inherited = manifest.get("lints").and_then(|l| l.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(inherited, Some(true), "{name}: add [lints] workspace = true");
    }
}
