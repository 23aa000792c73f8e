#!/usr/bin/env bash
# Keel beside NautilusTrader, backtesting.py, vectorbt and hftbacktest: the same files, the same answers, CPU seconds of one run
# in the same session. A wrong answer voids a time. Peers live in virtual environments of their own under target/peers, with the
# versions of the requirements files here; the jobs are those of ../shared/golden, whose scripts are used from there.
#
#   bash bench/peers/run.sh            the whole jobs (about five minutes on two cores)
#   bash bench/peers/run.sh small      the EMA cross on 100,000 rows only
#   bash bench/peers/run.sh full       the EMA cross on 1,000,000 rows, too
#
# Needs python3 with venv, network to the package index for the first run, 3 GB of disk and 6 GB of memory.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
golden="$(cd "$root/../shared/golden" 2>/dev/null && pwd || true)"
[ -n "$golden" ] || { echo "SKIPPED: ../shared/golden, which defines the jobs, is missing" >&2; exit 0; }
work="${CARGO_TARGET_DIR:-$root/target}/peers"
mkdir -p "$work/data" "$work/ema"
export PYTHONDONTWRITEBYTECODE=1

for peer in nautilus backtesting vectorbt hftbacktest; do
  wanted="bench/peers/requirements-$peer.txt"
  if ! cmp -s "$wanted" "$work/$peer.txt"; then
    echo "installing $peer" >&2
    rm -rf "${work:?}/$peer"
    python3 -m venv "$work/$peer"
    "$work/$peer/bin/pip" install --quiet --disable-pip-version-check -r "$wanted"
    cp "$wanted" "$work/$peer.txt"
  fi
done

# The generators write beside themselves or into a folder; both are deterministic.
if [ ! -f "$work/ema/data/SHA256.json" ]; then
  cp "$golden/ema_cross/gen_data.py" "$work/ema/"
  "$work/hftbacktest/bin/python" "$work/ema/gen_data.py" >/dev/null
fi
if [ ! -f "$work/data/bars1m.csv" ] || [ ! -f "$work/data/book10m.npz" ]; then
  "$work/hftbacktest/bin/python" "$golden/bench/gen_data.py" "$work/data" all >/dev/null
fi

launcher="${LAUNCHER:-}"
if [ -z "$launcher" ]; then
  cargo build --release --quiet --bin launcher
  launcher="${CARGO_TARGET_DIR:-$root/target}/release/launcher"
fi
exec python3 bench/peers/compare.py "$work" "$golden" "$launcher" "${1:-}"
