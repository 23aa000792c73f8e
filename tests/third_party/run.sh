#!/usr/bin/env bash
# Third-party clients trade on the simulated venue, unchanged: ccxt (REST and streams), both of Binance's
# own Python clients, and python-binance. Makes its own virtual environment under target/, starts `launcher venue`, runs each client against a fresh
# venue, and fails when any check fails.
set -euo pipefail
cd "$(dirname "$0")/../.."

target="${CARGO_TARGET_DIR:-target}"
work="$target/third_party"
mkdir -p "$work"

command -v python3 >/dev/null || { echo "third party: python3 (3.9 or newer, with venv) is needed; install it or skip this test" >&2; exit 1; }
if ! cmp -s tests/third_party/requirements.txt "$work/installed.txt"; then
  rm -rf "$work/venv"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/third_party/requirements.txt
  cp tests/third_party/requirements.txt "$work/installed.txt"
fi

launcher="${LAUNCHER:-}"
if [ -z "$launcher" ]; then
  cargo build --quiet --bin launcher
  launcher="$target/debug/launcher"
fi

export PYTHONDONTWRITEBYTECODE=1
export VENUE_KEY=third-party-key VENUE_SECRET=third-party-secret
pid=""
stop() {
  if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then kill -TERM "$pid"; wait "$pid" || true; fi
}
trap stop EXIT

run() {
  local script="$1" log="$work/venue-$1.log" port
  port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
  export VENUE_HOST="127.0.0.1:$port"
  "$launcher" venue --port "$port" --seed 7 --account "$VENUE_KEY:$VENUE_SECRET" >"$log" 2>&1 &
  pid=$!
  for _ in $(seq 100); do
    if python3 -c "import urllib.request as u; u.urlopen('http://$VENUE_HOST/api/v3/ping', timeout=1)" 2>/dev/null; then break; fi
    kill -0 "$pid" 2>/dev/null || { echo "third party: the venue ended early:" >&2; cat "$log" >&2; exit 1; }
    sleep 0.1
  done
  if ! timeout 300 "$work/venv/bin/python" "tests/third_party/$script.py"; then
    echo "third party: $script failed; the venue said:" >&2
    tail -40 "$log" >&2
    exit 1
  fi
  kill -TERM "$pid"
  local status=0
  wait "$pid" || status=$?
  pid=""
  if [ "$status" -ne 0 ]; then
    echo "third party: the venue ended with $status after SIGTERM:" >&2
    tail -40 "$log" >&2
    exit 1
  fi
}

run ccxt_spot
run binance_client
run official_connector
echo "third party: all clients trade on the venue"
