#!/usr/bin/env python3
"""Figures of the real process, seen from outside: start, stop, idle. Standard library only.

    cargo build --release --bin launcher && python3 benches/process.py [--runs 100] [--idle-s 30]

Prints one Markdown row per figure. Every run gets a data folder of its own below a temporary one.
"""

import argparse
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
READY = b"trading has begun"


class Launcher:
    """One process whose standard error is watched line by line."""

    def __init__(self, binary, *arguments, **environment):
        self.lines = []
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [binary, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "NO_COLOR": "1", **environment},
        )
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append((time.perf_counter() - self.started, line))
                self.changed.notify_all()

    def wait_for(self, text, seconds=30):
        """Seconds from the start of the process to the first line with `text`."""
        deadline = time.perf_counter() + seconds
        with self.changed:
            while True:
                for at, line in self.lines:
                    if text in line:
                        return at
                left = deadline - time.perf_counter()
                if left <= 0 or (self.process.poll() is not None and not self.reader.is_alive()):
                    sys.exit(f"no line with {text!r}; last lines:\n" + b"".join(l for _, l in self.lines[-20:]).decode())
                self.changed.wait(min(left, 0.2))

    def signal_and_wait(self, number, expected):
        """Seconds from the signal to the end of the process; the exit code must be `expected`."""
        at = time.perf_counter()
        self.process.send_signal(number)
        code = self.process.wait(60)
        took = time.perf_counter() - at
        self.reader.join(5)
        if code != expected:
            sys.exit(f"exit code {code}, expected {expected}; last lines:\n" + b"".join(l for _, l in self.lines[-40:]).decode())
        return took


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def milliseconds(values):
    return f"p50 {percentile(values, 0.5) * 1e3:.1f} ms, p99 {percentile(values, 0.99) * 1e3:.1f} ms, worst {max(values) * 1e3:.1f} ms"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def proc(pid, name):
    return pathlib.Path(f"/proc/{pid}/{name}").read_text()


def cpu_seconds(pid):
    fields = proc(pid, "stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_and_stop(binary, folder, runs):
    starts, stops = [], []
    for number in range(runs):
        run = Launcher(binary, "--paper", "--strategy", "idle", "--data-dir", f"{folder}/idle-{number}")
        starts.append(run.wait_for(READY))
        stops.append(run.signal_and_wait(signal.SIGINT, 130))
    print(f"| process start → trading ready, embedded venue ({runs} runs) | ≤ 150 ms | {milliseconds(starts)} |")
    print(f"| SIGINT → exit, nothing open ({runs} runs) | ≤ 50 ms | {milliseconds(stops)} |", flush=True)


def stop_with_orders(binary, folder, runs):
    stops = []
    for number in range(runs):
        run = Launcher(
            binary, "--paper", "--strategy", "market-maker", "--symbols", "BTCUSDT", "--data-dir", f"{folder}/orders-{number}",
            KEEL__MARKET_MAKER__LEVELS_COUNT="5",
            KEEL__MARKET_MAKER__HALF_SPREAD_BPS="50",
            KEEL__MARKET_MAKER__LEVEL_STEP_BPS="5",
            KEEL__MARKET_MAKER__REQUOTE_BPS="40",
        )
        run.wait_for(READY)
        time.sleep(1.0)
        stops.append(run.signal_and_wait(signal.SIGINT, 130))
    print(f"| SIGINT → exit, 10 open orders ({runs} runs) | ≤ 300 ms p99 | {milliseconds(stops)} |", flush=True)


def idle(binary, folder, seconds):
    port = free_port()
    venue = Launcher(binary, "venue", "--port", str(port), "--seed", "7", "--account", "bench-key:bench-secret", "--data-dir", f"{folder}/venue")
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    run = Launcher(
        binary, "--paper", "--strategy", "idle", "--data-dir", f"{folder}/separate",
        KEEL__VENUE__URL=f"http://127.0.0.1:{port}",
        KEEL_API_KEY="bench-key",
        KEEL_API_SECRET="bench-secret",
    )
    run.wait_for(READY)
    time.sleep(3)
    pid, before, at = run.process.pid, cpu_seconds(run.process.pid), time.perf_counter()
    time.sleep(seconds)
    share = (cpu_seconds(pid) - before) / (time.perf_counter() - at)
    resident = int(re.search(r"VmRSS:\s+(\d+)", proc(pid, "status")).group(1)) / 1024
    threads = int(re.search(r"Threads:\s+(\d+)", proc(pid, "status")).group(1))
    descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    run.signal_and_wait(signal.SIGINT, 130)
    venue.signal_and_wait(signal.SIGINT, 130)
    print(f"| idle on a separate venue: CPU of one core ({seconds} s) | < 2 % | {share * 100:.2f} % |")
    print(f"| the same: resident memory | ≤ 25 MiB | {resident:.1f} MiB |")
    print(f"| the same: descriptors, threads | < 64 | {descriptors}, {threads} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / "target/release/launcher"))
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--idle-s", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print("| figure | target | measured |\n|---|---|---|", flush=True)
        start_and_stop(options.binary, folder, options.runs)
        stop_with_orders(options.binary, folder, options.runs)
        idle(options.binary, folder, options.idle_s)


main()
