"""Assertions with names, and a closing line that counts them."""

import os
import sys

PORT = os.environ["KEEL_VENUE_PORT"]
KEY = os.environ["KEEL_VENUE_KEY"]
SECRET = os.environ["KEEL_VENUE_SECRET"]
REST = f"http://127.0.0.1:{PORT}"
WS = f"ws://127.0.0.1:{PORT}"

_passed = 0
_failed = []


def check(name, truth, detail=""):
    """Counts one check; a failed one is printed at once and makes the script fail at its end."""
    global _passed
    if truth:
        _passed += 1
    else:
        _failed.append(name)
        print(f"  FAILED {name}: {detail}", flush=True)


def finish():
    """Prints `N passed, N failed` and ends the script."""
    print(f"{_passed} passed, {len(_failed)} failed", flush=True)
    sys.stdout.flush()
    os._exit(1 if _failed or _passed == 0 else 0)
