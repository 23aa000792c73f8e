//! What every source file keeps: a first line that says what it is for, bounded length, reasons, purity.

use crate::dependencies::PURE;
use crate::{root, rust_files};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// Functions longer than the limit; this number only goes down.
const LONG_FUNCTIONS_MAX: usize = 0;

/// Files that may hold unsafe code, each audited; everything else is safe.
const UNSAFE_FILES: &[&str] = &[
    "crates/store/src/priority.rs",
    "crates/lifecycle/src/signal_mask.rs",
    "crates/lifecycle/src/watchdog/hard_exit.rs",
    "crates/marketdata/src/vector.rs",
    "crates/sweep/src/kernel/simd.rs",
];

fn is_test_file(name: &str) -> bool {
    name.starts_with("tests/")
        || name.contains("/tests/")
        || name.ends_with("/tests.rs")
        || name.ends_with("/testing.rs")
        || name.contains("/benches/")
        || name.starts_with("benches/")
        || name.contains("/examples/")
}

/// The part of a file before its inline tests.
fn product_part(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn every_file_says_on_its_first_line_what_it_is_for() {
    for (name, text) in rust_files() {
        assert!(text.starts_with("//! "), "{name}: begin with `//! what this file is for`");
    }
}

#[test]
fn files_are_rooms_not_halls() {
    for (name, text) in rust_files() {
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{name} has {lines} lines; more than {FILE_LINES_MAX} ask for a second room");
        assert!(!name.ends_with("/mod.rs"), "{name}: use foo.rs + foo/, so that tabs in an editor can be told apart");
    }
}

#[test]
#[allow(clippy::absurd_extreme_comparisons, reason = "the ratchet may stand at zero")]
fn functions_fit_on_a_screen() {
    let mut long = Vec::new();
    for (name, text) in rust_files().into_iter().filter(|(name, _)| !is_test_file(name)) {
        let lines: Vec<&str> = product_part(&text).lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let is_start = line.trim_start().split("fn ").next().is_some_and(|before| {
                line.contains("fn ")
                    && before
                        .split_whitespace()
                        .all(|w| matches!(w, "pub" | "const" | "async" | "unsafe") || w.starts_with("pub("))
            });
            if !is_start || line.trim_end().ends_with(';') {
                continue;
            }
            let end = format!("{}}}", " ".repeat(indent));
            if let Some(length) = lines[at..].iter().position(|l| *l == end).map(|n| n + 1)
                && length > FUNCTION_LINES_MAX
            {
                long.push(format!("{name}:{} {length} lines: {}", at + 1, line.trim()));
            }
        }
    }
    assert!(
        long.len() <= LONG_FUNCTIONS_MAX,
        "{} functions exceed {FUNCTION_LINES_MAX} lines:\n{}",
        long.len(),
        long.join("\n")
    );
}

#[test]
fn an_exception_to_a_lint_has_a_reason() {
    for (name, text) in rust_files().into_iter().filter(|(name, _)| !name.starts_with("tests/tidy")) {
        for marker in ["#[allow(", "#![allow(", "#[expect("] {
            for (at, _) in text.match_indices(marker) {
                let end = text[at..].find(")]").map_or(text.len(), |n| at + n);
                let line = text[..at].lines().count() + 1;
                assert!(text[at..end].contains("reason"), "{name}:{line}: write {marker}…, reason = \"…\")]");
            }
        }
    }
}

#[test]
fn unsafe_code_lives_in_the_audited_files_only() {
    for (name, text) in rust_files().into_iter().filter(|(name, _)| !is_test_file(name)) {
        let has = product_part(&text).lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        assert!(
            !has || UNSAFE_FILES.contains(&name.as_str()),
            "{name}: unsafe code outside the audited files {UNSAFE_FILES:?}"
        );
    }
}

#[test]
fn the_pure_wing_never_awaits_reads_a_clock_or_does_io() {
    const FORBIDDEN: &[&str] = &[
        "async fn",
        ".await",
        "std::fs",
        "std::net",
        "SystemTime",
        "Instant::",
        "tokio::",
        "std::thread",
        "std::env",
        "println!",
        "thread_rng",
    ];
    for (name, text) in rust_files().into_iter().filter(|(name, _)| !is_test_file(name)) {
        if !PURE.iter().any(|crate_name| name.starts_with(&format!("crates/{crate_name}/src/"))) {
            continue;
        }
        for (number, line) in product_part(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in FORBIDDEN {
                assert!(!code.contains(word), "{name}:{}: `{word}` in a pure crate: {}", number + 1, line.trim());
            }
        }
    }
}

#[test]
fn nothing_is_printed_past_the_one_output_module() {
    // println! and eprintln! panic when the reader of the pipe is gone; a stop must not die of that (S-09).
    // The commands of the simulation and the crash test are tests themselves, and stop nothing.
    let is_test = |name: &str| {
        is_test_file(name) || ["proof", "crashtest"].iter().any(|of| name.starts_with(&format!("crates/{of}/src/bin/")))
    };
    for (name, text) in rust_files().into_iter().filter(|(name, _)| !is_test(name)) {
        for (number, line) in product_part(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for word in ["println!(", "eprintln!(", "print!(", "eprint!("] {
                let used = code.contains(word) && !code.contains(&format!("e{word}"));
                assert!(!used, "{name}:{}: use the output module; {word}…) panics on a closed pipe", number + 1);
            }
        }
    }
}

#[test]
fn the_readme_and_ci_run_the_same_test_command() {
    let read =
        |name: &str| std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (readme, ci) = (read("README.md"), read(".ci/run"));
    for command in ["cargo run --release --bin launcher -- --paper --duration 60", "cargo test --workspace"] {
        assert!(readme.contains(command), "README.md does not show `{command}`");
    }
    assert!(ci.contains("cargo test --workspace"), ".ci/run does not run the README's test command");
}

#[test]
fn documents_that_must_exist_do() {
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "BENCHMARKS.md",
        "SECURITY.md",
        "deny.toml",
        "justfile",
        "clippy.toml",
    ] {
        let text = std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(text.len() > 200, "{name} is all but empty");
    }
}
