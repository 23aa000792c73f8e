#!/usr/bin/env bash
# The API of a running paper bot against its own OpenAPI document: schemathesis makes requests that fit the document and ones
# that do not, and compares the answers with it. Left out: stop and emergency-stop, which end the run; the endless stream of
# events; the check of wrong tokens, which are bounded by the minute on purpose (a test walks the table of routes instead).
# Makes its own virtual environment under target/, and skips loudly where that is not possible.
set -euo pipefail
cd "$(dirname "$0")/../.."

target="${CARGO_TARGET_DIR:-target}"
work="$target/openapi"
mkdir -p "$work"
skip() { echo "SKIPPED: the API was not compared with its document: $1" >&2; exit 0; }

command -v python3 >/dev/null || skip "no python3"
if ! cmp -s tests/openapi/requirements.txt "$work/installed.txt"; then
  rm -rf "$work/venv"
  python3 -m venv "$work/venv" || skip "python3 has no venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/openapi/requirements.txt ||
    skip "pip cannot install what tests/openapi/requirements.txt names"
  cp tests/openapi/requirements.txt "$work/installed.txt"
fi
launcher="${LAUNCHER:-$target/debug/launcher}"
[ -n "${LAUNCHER:-}" ] || cargo build --quiet -p keel-launcher --bin launcher

scratch="$(mktemp -d)"
bot=""
end() { if [ -n "$bot" ]; then kill "$bot" 2>/dev/null || true; wait "$bot" 2>/dev/null || true; fi; rm -rf "$scratch"; }
trap end EXIT
"$launcher" --paper --infinite --http 127.0.0.1:0 --data-dir "$scratch/data" >"$scratch/out" 2>"$scratch/err" &
bot=$!
for _ in $(seq 300); do
  grep -q "trading: ready" "$scratch/err" && break
  kill -0 "$bot" 2>/dev/null || break
  sleep 0.1
done
address="$(sed -n 's#^observability: http://\([^/]*\)/.*#\1#p' "$scratch/err")"
[ -n "$address" ] || { cat "$scratch/err" >&2; exit 1; }
"$work/venv/bin/schemathesis" run "http://$address/openapi.json" -H "Authorization: Bearer $(cat "$scratch/data/api/operate.token")" \
  --exclude-path /api/stop --exclude-path /api/emergency-stop --exclude-path /api/events \
  --phases coverage,fuzzing --checks all --exclude-checks ignored_auth --max-examples "${EXAMPLES:-25}" --seed 1 --request-timeout 15
# It trades on, whatever was asked.
"$launcher" health --data-dir "$scratch/data" >/dev/null || "$launcher" status --data-dir "$scratch/data" >/dev/null
kill -0 "$bot"
echo "openapi: the bot answers as its document says, and runs on"
