#!/usr/bin/env bash
# The report's pages, and the page of a running bot, in a real browser: headless Chromium opens them from files, at two widths, light and dark, and the test
# looks for console errors, network requests, empty charts, overflow, markup that came alive, and works zoom, tabs, sorting and
# keyboard. Screenshots lie in target/browser afterwards. Makes its own virtual environment under target/; installs Chromium
# with apt-get where it is missing and that is possible, and skips loudly where it is not.
set -euo pipefail
cd "$(dirname "$0")/../.."

target="${CARGO_TARGET_DIR:-target}"
work="$target/browser"
mkdir -p "$work"

skip() { echo "SKIPPED: the browser test did not run: $1" >&2; exit 0; }

find_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome || true; }
browser="${BROWSER_BINARY:-$(find_browser)}"
if [ -z "$browser" ]; then
  as_root=""
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  { $as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core; } >"$work/install.log" 2>&1 ||
    skip "no Chromium, and apt-get cannot install it ($work/install.log)"
  browser="$(find_browser)"
  [ -n "$browser" ] || skip "no Chromium after apt-get"
fi
command -v python3 >/dev/null || skip "no python3"
if ! cmp -s tests/browser/requirements.txt "$work/installed.txt"; then
  rm -rf "$work/venv"
  python3 -m venv "$work/venv" || skip "python3 has no venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/browser/requirements.txt ||
    skip "pip cannot install what tests/browser/requirements.txt names"
  cp tests/browser/requirements.txt "$work/installed.txt"
fi

if [ "${1:-}" != "--no-build" ]; then
  cargo run --quiet -p keel-report --example sample_pages -- "$work"
fi
PYTHONDONTWRITEBYTECODE=1 "$work/venv/bin/python" tests/browser/pages.py "$browser" "$work"

launcher="${LAUNCHER:-$target/debug/launcher}"
[ -n "${LAUNCHER:-}" ] || [ "${1:-}" = "--no-build" ] || cargo build --quiet -p keel-launcher --bin launcher
PYTHONDONTWRITEBYTECODE=1 "$work/venv/bin/python" tests/browser/live.py "$browser" "$work" "$launcher"
