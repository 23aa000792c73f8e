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

# The simulation test on all cores: SEEDS runs, what was covered, the smallest transcript of the first that fails.
sim SEEDS="100000" *ARGS:
    cargo run --release -p keel-proof --bin sim -- {{SEEDS}} {{ARGS}}

# One run of the simulation test, told line by line.
sim-seed SEED:
    cargo run --release -p keel-proof --bin sim -- --seed {{SEED}}

# Each seed twice: it must come to the same trace.
sim-twice SEEDS="10000":
    cargo run --release -p keel-proof --bin sim -- {{SEEDS}} --twice

# Wrong variants of the product's rules: each must be killed at its seed (`--search 20000` finds the seeds anew).
mutants *ARGS:
    cargo run --release -p keel-proof --features mutants --bin mutants -- {{ARGS}}

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

# The crash test: SIGKILL at every n-th system call of all six phases, goes on where it was (about an hour; see --help).
crash-sweep *ARGS:
    cargo build --release --bin launcher
    cargo run --release -p keel-crashtest --bin crash -- sweep {{ARGS}}

# The crash test: SIGKILL at random instants.
crash-random COUNT="2000":
    cargo build --release --bin launcher
    cargo run --release -p keel-crashtest --bin crash -- random {{COUNT}}

# The crash test's short slice, as in CI.
crash:
    cargo test -p keel-launcher --test crash

# How fast a journal becomes rows; further arguments are PostgreSQL addresses of databases that may be emptied.
bench-database RECORDS="200000" *ADDRESSES:
    cargo run --release -p keel-database --example projection_speed -- {{RECORDS}} {{ADDRESSES}}

# Figures of the journal and of starts: append, hand-over, group commit, replay; boot from a million records.
bench-journal RECORDS="1000000":
    cargo bench -p keel-store --bench journal
    cargo bench -p keel-gateway --bench boot -- {{RECORDS}}

# Snapshots restored anywhere against whole replays, over as many streams as asked for.
prove-snapshots SEEDS="200":
    KEEL_SEEDS={{SEEDS}} cargo test --release -p keel-gateway --test gateway snapshots

# Plans (brackets, OCO, TWAP, iceberg) under random events, refusals and crashes; more cases than the tests run.
plans CASES="100000":
    KEEL_PARENT_CASES={{CASES}} cargo test --release -p keel-engine --lib parents::random

# What one order costs from the first thousands to the millionth of one session.
bench-orders:
    cargo bench -p keel-engine --bench orders

# Changed variants of risk, execution and journal by cargo-mutants: a random sample, built together, each tested. The figure of
# BENCHMARKS.md: `just cargo-mutants --second keel-engine`.
cargo-mutants *ARGS:
    python3 tests/mutants/sample.py {{ARGS}}

# Indicators against TA-Lib, batch and streaming, over a long series; and how fast they are beside others.
indicators-long BARS="10000000":
    KEEL_BARS={{BARS}} cargo test --release -p keel-marketdata --test ta_lib_long

# Market making on ten million L2 rows with a queue model; the answers of hftbacktest are checked.
bench-l2:
    cargo bench -p keel-backtest --bench l2

bench-indicators BARS="10000000":
    cargo bench -p keel-marketdata --bench indicators -- {{BARS}}

# A crate as `launcher new-strategy` writes it: built, tested, run in backtest and paper.
new-strategy-test:
    KEEL_E2E_NEW_STRATEGY=1 cargo test -p keel-launcher --test e2e new_strategy

# The fast sweep: 100,000 bars × 1,000 and 10,000 pairs, the published answers first; `just bench-sweep avx2` takes one width.
bench-sweep *WIDTH:
    cargo bench -p keel-sweep --bench sma_cross -- {{WIDTH}}

# DuckDB, Polars and pandas read the catalogue's files as they are.
parquet:
    bash tests/third_party/parquet.sh

# How fast candles are read and checked: our Parquet, CSV, packed CSV; the catalogue.
bench-catalogue ROWS="2000000":
    cargo bench -p keel-catalogue --bench read -- {{ROWS}}

# The API of a running bot against its own OpenAPI document, by schemathesis; EXAMPLES for each operation.
openapi EXAMPLES="25":
    EXAMPLES={{EXAMPLES}} bash tests/openapi/run.sh

# What is in packaging/, as far as this machine can check it: promtool, systemd-analyze, a running bot's metrics.
packaging:
    bash packaging/check.sh

# The report's pages and a running bot's page in headless Chromium: console, network, charts, zoom, sorting, two widths, light and dark.
browser:
    bash tests/browser/run.sh

# Keel beside NautilusTrader, backtesting.py, vectorbt and hftbacktest on the same files, answers checked; `small` or `full`.
peers SIZE="":
    bash bench/peers/run.sh {{SIZE}}

# Speed of the exact engine on bars and quotes, and what an order costs; FOLDER holds the golden files, if they are there.
bench-golden FOLDER="":
    KEEL_GOLDEN={{FOLDER}} cargo bench -p keel-backtest --bench golden
