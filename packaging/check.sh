#!/usr/bin/env bash
# Checks what is in packaging/ as far as this machine can: Prometheus' own tool on configuration, rules, their test and the
# metrics of a paper run; systemd's on the unit, exposure 1.2 at most; every metric that a rule or a panel names is there; the
# container files against what they promise. Takes LAUNCHER (default: target/debug/launcher, built anew). Installs
# promtool with apt-get where it is missing and that is possible; what cannot be checked is said loudly.
set -euo pipefail
cd "$(dirname "$0")/.."

failures=0
fail() { echo "FAILED: $1" >&2; failures=$((failures + 1)); }
good() { echo "ok: $1"; }
skip() { echo "SKIPPED: $1" >&2; }

launcher="${LAUNCHER:-${CARGO_TARGET_DIR:-target}/debug/launcher}"
[ -n "${LAUNCHER:-}" ] || cargo build --quiet -p keel-launcher --bin launcher
launcher="$(realpath "$launcher")"
work="$(mktemp -d)"
bot=""
end() { if [ -n "$bot" ]; then kill "$bot" 2>/dev/null || true; wait "$bot" 2>/dev/null || true; fi; rm -rf "$work"; }
trap end EXIT

# A paper run, and what it tells.
"$launcher" --paper --infinite --http 127.0.0.1:0 --data-dir "$work/data" >"$work/out" 2>"$work/err" &
bot=$!
for _ in $(seq 300); do
  grep -q "trading: ready" "$work/err" && break
  kill -0 "$bot" 2>/dev/null || break
  sleep 0.1
done
address="$(sed -n 's#^observability: http://\([^/]*\)/.*#\1#p' "$work/err")"
[ -n "$address" ] || { cat "$work/err" >&2; echo "FAILED: the launcher serves nothing" >&2; exit 1; }
# The token goes over a file descriptor, never over a command line.
ask() { curl --fail --silent --show-error --max-time 10 --config - "http://$address$1" <<<"header = \"Authorization: Bearer $(cat "$work/data/api/read.token")\""; }
for _ in $(seq 100); do
  ask /metrics >"$work/metrics.txt"
  grep -q '^keel_fills_total [1-9]' "$work/metrics.txt" && grep -q '^keel_position{' "$work/metrics.txt" && break
  sleep 0.2
done
good "a paper run on $address tells $(grep -c '^# TYPE' "$work/metrics.txt") metrics"
curl --fail --silent --max-time 4 --output /dev/null "http://$address/health/ready" && good "/health/ready answers the container's health check" || fail "/health/ready"

python3 packaging/check.py "$work/metrics.txt" "$work" || fail "what packaging/check.py tells above"

# promtool
if ! command -v promtool >/dev/null; then
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  { $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends prometheus; } >"$work/apt.log" 2>&1 || true
fi
if command -v promtool >/dev/null; then
  promtool check rules packaging/prometheus/keel.rules.yml || fail "promtool check rules"
  promtool test rules packaging/prometheus/keel.rules.test.yml || fail "promtool test rules"
  promtool check config --syntax-only packaging/prometheus/prometheus.yml || fail "promtool check config"
  promtool check rules "$work/panels.yml" >/dev/null && good "promtool reads every query of the dashboard" || fail "a query of the dashboard"
  if lint="$(promtool check metrics <"$work/metrics.txt" 2>&1)" && [ -z "$lint" ]; then good "promtool finds nothing in the metrics"; else fail "promtool check metrics: $lint"; fi
else
  skip "promtool is not here and apt-get cannot install it: rules, configuration and metrics were not checked by it"
fi

# systemd
if command -v systemd-analyze >/dev/null && systemd-analyze security --help 2>/dev/null | grep -q -- --offline; then
  sed "s#/usr/local/bin/launcher#$launcher#" packaging/systemd/keel.service >"$work/keel.service"
  systemd-analyze verify "$work/keel.service" && good "systemd-analyze verify" || fail "systemd-analyze verify"
  exposure="$(systemd-analyze security --offline=true packaging/systemd/keel.service | sed -n 's/.*Overall exposure level for keel.service: \([0-9.]*\).*/\1/p')"
  if [ -n "$exposure" ] && awk "BEGIN { exit !($exposure <= 1.2) }"; then good "exposure $exposure of at most 1.2"; else fail "exposure '$exposure' is above 1.2"; fi
  if command -v strace >/dev/null; then
    strace -f -qq -o "$work/trace" "$launcher" --paper --duration 4 --http 127.0.0.1:0 --data-dir "$work/traced" >"$work/traced.out" 2>&1 || true
    if grep -q "ptrace" "$work/traced.out"; then
      skip "strace may not trace here: the unit's filter of system calls was not compared with a run"
    else
      python3 packaging/syscalls.py packaging/systemd/keel.service "$work/trace" && good "the unit allows every system call of a run" || fail "the unit's filter"
    fi
  else
    skip "strace is not here: the unit's filter of system calls was not compared with a run"
  fi
else
  skip "systemd-analyze with --offline is not here: the unit was not checked by it"
fi

# Containers
if docker compose version >/dev/null 2>&1; then
  docker compose -f packaging/docker/compose.yml --profile watch config --quiet && good "docker compose reads compose.yml" || fail "docker compose config"
else
  skip "docker compose is not here: compose.yml was not read by it"
fi

[ "$failures" = 0 ] || { echo "$failures failed" >&2; exit 1; }
echo "packaging: all good"
