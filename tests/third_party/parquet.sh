#!/usr/bin/env bash
# DuckDB, Polars and pandas read the catalogue's Parquet files directly. Makes its own virtual environment under target/; without a
# package index it says so loudly and skips.
set -euo pipefail
cd "$(dirname "$0")/../.."

target="${CARGO_TARGET_DIR:-target}"
work="$target/third_party_parquet"
mkdir -p "$work"
packages=(duckdb polars pandas pyarrow)

command -v python3 >/dev/null || { echo "SKIPPED: parquet: python3 (3.9 or newer, with venv) is missing" >&2; exit 0; }
if [ ! -f "$work/installed" ]; then
  rm -rf "$work/venv"
  python3 -m venv "$work/venv"
  if ! "$work/venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}"; then
    echo "SKIPPED: parquet: ${packages[*]} cannot be installed; is there a network?" >&2
    exit 0
  fi
  touch "$work/installed"
fi

rm -rf "$work/catalogue"
cargo run --quiet -p keel-catalogue --example write_samples -- "$work/catalogue" >"$work/wanted.json"
"$work/venv/bin/python" tests/third_party/parquet.py "$work/catalogue" <"$work/wanted.json"
