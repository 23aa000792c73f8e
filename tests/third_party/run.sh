#!/usr/bin/env bash
# Third-party Binance clients trade, unchanged, on the simulated venue: proof that it speaks the real protocol.
# KEEL_LAUNCHER names the binary (default: the release build, built if it is missing).
set -euo pipefail
cd "$(dirname "$0")/../.."

launcher=${KEEL_LAUNCHER:-target/release/launcher}
[ -x "$launcher" ] || cargo build --release --locked --bin launcher

venv=target/third-party/venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/third_party/requirements.txt

work=$(mktemp -d)
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export KEEL_VENUE_PORT=$port KEEL_VENUE_KEY=third-party-key KEEL_VENUE_SECRET=third-party-secret

"$launcher" venue --port "$port" --seed 7 --account "$KEEL_VENUE_KEY:$KEEL_VENUE_SECRET" >"$work/venue.log" 2>&1 &
venue=$!
trap 'kill -KILL $venue 2>/dev/null || true; rm -rf "$work"' EXIT

for _ in $(seq 100); do
    if "$venv/bin/python" -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$port/api/v3/ping', timeout=1)" 2>/dev/null; then
        break
    fi
    kill -0 $venue 2>/dev/null || { cat "$work/venue.log"; echo "the venue did not start"; exit 1; }
    sleep 0.1
done

status=0
for client in ccxt_spot official_connector official_sdk; do
    echo "--- $client"
    timeout 180 "$venv/bin/python" "tests/third_party/$client.py" || { status=1; echo "FAILED: $client"; }
done

kill -INT $venue
code=0
wait $venue || code=$?
[ "$code" = 130 ] || { echo "the venue ended with $code after SIGINT, expected 130"; status=1; }
[ $status = 0 ] || { echo "--- last lines of the venue"; tail -n 30 "$work/venue.log"; }
exit $status
