"""A few helpers for the checks: where the venue is, what was checked, and what a run says at its end."""

import os
import sys
import time
import traceback

HOST = os.environ.get("VENUE_HOST", "127.0.0.1:9080")
KEY = os.environ.get("VENUE_KEY", "third-party-key")
SECRET = os.environ.get("VENUE_SECRET", "third-party-secret")

_done = []


def check(name, condition, detail=""):
    """Counts a check; a failed one ends the run."""
    if not condition:
        print(f"FAILED  {name}  {detail}", flush=True)
        raise SystemExit(1)
    _done.append(name)
    print(f"ok      {name}", flush=True)


def wait_for(name, probe, seconds=15.0):
    """Waits until `probe` gives something true, and gives that back."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = probe()
        if found:
            check(name, True)
            return found
        time.sleep(0.05)
    check(name, False, f"nothing within {seconds} s")


def finish(client, least):
    """Says how many checks there were; too few is a failure too."""
    check(f"{client}: at least {least} checks were made", len(_done) >= least, f"{len(_done)}")
    print(f"{client}: {len(_done)} checks passed", flush=True)


def guarded(run):
    """Runs the checks; any error is a failure with its trace."""
    try:
        run()
    except SystemExit:
        raise
    except BaseException:  # noqa: BLE001 - whatever it is, it is a failure
        traceback.print_exc()
        sys.exit(1)
