//! Licences and bans over the resolved dependency tree; the same as deny.toml, without a tool to install.

use crate::root;
use std::process::Command;

const LICENCES: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Unicode-3.0",
    "Zlib",
    "CDLA-Permissive-2.0",
    "OpenSSL",
    "CC0-1.0",
    "MIT-0",
    "0BSD",
    "Unlicense",
    "BSL-1.0",
    "Apache-2.0 WITH LLVM-exception",
];

/// System TLS is a second, unaudited way to the network; everything goes through rustls.
const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "datafusion", "polars", "tikv-jemallocator"];

/// Is one alternative of an SPDX expression wholly allowed? Knows OR, AND, WITH, `/` and brackets, as crates use them.
fn is_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain.split(" OR ").any(|alternative| {
        alternative
            .split(" AND ")
            .all(|licence| LICENCES.contains(&licence.split_whitespace().collect::<Vec<_>>().join(" ").as_str()))
    })
}

#[test]
fn every_dependency_has_a_licence_we_may_ship_and_none_is_banned() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    assert!(packages.len() > 50, "the tree cannot be that small");
    let resolved: std::collections::BTreeSet<_> = metadata["resolve"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    for package in packages.iter().filter(|p| resolved.contains(p["id"].as_str().unwrap())) {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("none stated");
        assert!(is_allowed(licence), "{name}: licence {licence:?} is not on the list");
        assert!(!BANNED.contains(&name), "{name} is banned; see the reasons in tests/tidy/licences.rs and deny.toml");
    }
}

#[test]
fn licence_expressions_are_read_right() {
    assert!(
        is_allowed("MIT OR GPL-3.0")
            && is_allowed("MIT/Apache-2.0")
            && is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0")
    );
    assert!(!is_allowed("GPL-3.0") && !is_allowed("MIT AND GPL-3.0") && !is_allowed("none stated"));
}
