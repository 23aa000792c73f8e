"""Does the unit's filter allow every system call of a run? Usage: syscalls.py UNIT TRACE, the trace by `strace -f -o TRACE`."""
import pathlib
import re
import subprocess
import sys

# As root only: SQLite gives its files to their owner. The service is not root.
ROOT_ONLY = {"fchown"}
# Tried and done without: the journal's thread takes a nice value where it may not be real-time.
DONE_WITHOUT = {"sched_setscheduler"}


def members(name, seen):
    """System calls of a set, with the sets in it."""
    if not name.startswith("@"):
        return {name}
    if name in seen:
        return set()
    seen.add(name)
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    found = set()
    for line in listed.splitlines()[1:]:
        word = line.strip()
        if word and not word.startswith("#"):
            found |= members(word, seen)
    return found


unit, trace = (pathlib.Path(argument).read_text(encoding="utf-8", errors="replace") for argument in sys.argv[1:3])
allowed = set()
for value in re.findall(r"^SystemCallFilter=(.*)$", unit, re.M):
    for name in value.lstrip("~").split():
        allowed = allowed - members(name, set()) if value.startswith("~") else allowed | members(name, set())
called = set(re.findall(r"^\d+ +(\w+)\(", trace, re.M))
refused = called - allowed - ROOT_ONLY - DONE_WITHOUT
families = set(re.findall(r"\bsocket\((AF_\w+)", trace)) - set(re.search(r"^RestrictAddressFamilies=(.*)$", unit, re.M)[1].split())
executable = re.findall(r"^.*PROT_WRITE\|PROT_EXEC.*$", trace, re.M)
for what, found in [("system calls", refused), ("families of sockets", families), ("writable and executable memory", executable)]:
    if found:
        print(f"FAILED: the unit forbids what a run does: {what}: {sorted(found)}")
if len(called) < 30:
    print(f"FAILED: the trace has {len(called)} system calls only")
sys.exit(1 if refused or families or executable or len(called) < 30 else 0)
