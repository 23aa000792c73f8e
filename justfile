# Short names for the commands of this repository; each line is an ordinary command that works without `just`.

# The main job: a minute of paper trading on the embedded venue.
run:
    cargo run --release --bin launcher -- --paper --duration 60

# Everything that CI checks.
ci:
    bash .ci/run

# The tests.
test:
    cargo test --workspace

# Formatting and lints as CI sees them.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Third-party clients against the simulated venue (ccxt, python-binance).
third-party:
    bash tests/third_party/run.sh

# Figures of BENCHMARKS.md.
bench:
    cargo bench --workspace
