"""Runs each job in Keel and in its peer, checks both answers and prints the ratios. Called by run.sh."""
import json
import os
import pathlib
import re
import subprocess
import sys
from decimal import Decimal

WORK, GOLDEN, LAUNCHER, SIZE = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
HERE = pathlib.Path(__file__).parent

# The answers of the jobs, as ../shared/golden states them.
EMA = {
    "bars_100k": (9_137, "-0.010", "997712.87753390"),
    "quotes_100k": (8_909, "-0.010", "997770.72645560"),
    "bars_1m": (90_483, "0.010", "980807.29763100"),
    "quotes_1m": (90_405, "-0.010", "977861.05630880"),
}
W3 = (20_319, "9372197.61255")
W2 = (1_142_463, -657.1671738209)
W3B = (103_987, 74_839, -0.01, 298.777, 4485.8036)
wrong = []


def run(command, **environment):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(str(part) for part in command)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def last_json(text):
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


def peer(name, script, *arguments):
    return last_json(run([WORK / name / "bin/python", HERE / script, *arguments]))


def keel_backtest(config, data):
    return last_json(run([LAUNCHER, "backtest", "-c", f"config/golden/{config}", "--data", data, "--json"]))


def near(one, other, most=1e-9):
    return abs(one - other) <= most * max(abs(one), abs(other))


def row(job, unit, count, keel, theirs):
    """Each side: name, CPU seconds, is the answer right?"""
    shown = []
    for name, seconds, is_right in (keel, theirs):
        if not is_right:
            wrong.append(f"{job}: {name}")
        rate = count / seconds if seconds > 0 else 0
        shown.append(f"{name:<26} {seconds:>10.4f} CPU s {rate:>16,.0f} {unit}/s  {'answer right' if is_right else 'WRONG ANSWER: no time'}")
    ratio = f"{theirs[1] / keel[1]:,.1f} ×" if keel[2] and theirs[2] else "void"
    print(f"{job}\n  {shown[0]}\n  {shown[1]}\n  Keel is {ratio}", flush=True)


def ema(name):
    kind = name.split("_")[0]
    file = WORK / f"ema/data/{name}.csv"
    orders, position, balance = EMA[name]
    is_right = lambda answer: (
        answer["orders"] == answer["fills"] == orders
        and Decimal(answer["final_position"]) == Decimal(position)
        and Decimal(answer["final_balance"]) == Decimal(balance)
    )
    ours = keel_backtest(f"ema_cross_{kind}.toml", file)
    theirs = peer("nautilus", "ema_nautilus.py", kind, file)
    row(f"EMA cross with accounts, {name}", "rows", theirs["rows"], ("Keel", ours["run_cpu_seconds"], is_right(ours)),
        (f"{theirs['engine']} {theirs['version']}", theirs["cpu_s"], is_right(theirs["answer"])))


def w3():
    ours = keel_backtest("ema_cross_next_open.toml", WORK / "data/bars1m.csv")
    theirs = peer("backtesting", "w3_backtesting.py", WORK / "data")
    answer = theirs["answer"]
    ours_right = ours["orders"] == W3[0] and Decimal(ours["final_equity"]) == Decimal(W3[1])
    theirs_right = answer["orders"] == W3[0] and near(answer["final_equity"], float(W3[1]), 1e-12)
    row("W3, EMA 20/50 filled at the next open, 1,000,000 bars", "bars", theirs["rows"], ("Keel", ours["run_cpu_seconds"], ours_right),
        (f"{theirs['engine']} {theirs['version']}", theirs["cpu_s"], theirs_right))


def w2():
    """The bench checks each answer itself and panics on a wrong one."""
    text = run(["cargo", "bench", "--quiet", "-p", "keel-sweep", "--bench", "sma_cross"])
    times = [float(found) for found in re.findall(r"^\s*1000 pairs\s+\S+\s+daily true\s+([\d.]+) CPU s", text, re.M)]
    theirs = peer("vectorbt", "w2_vectorbt.py", WORK / "data", 1000, 50, GOLDEN / "bench")
    answer = theirs["answer"]
    is_right = answer["orders"] == W2[0] and near(answer["sum_of_returns"], W2[1], 1e-10)
    row("W2, sweep of 1,000 SMA crosses over 100,000 bars", "pair·bars", theirs["rows"], ("Keel, fast sweep", min(times), True),
        (f"{theirs['engine']} {theirs['version']}", theirs["cpu_s"], is_right))


def w3b():
    """The bench checks its answer itself and panics on a wrong one."""
    text = run(["cargo", "bench", "--quiet", "-p", "keel-backtest", "--bench", "l2"], RUNS="1")
    seconds = float(re.search(r"best ([\d.]+) s", text).group(1))
    script = GOLDEN / "bench/w3b_hftbacktest.py"
    for depth in ("hash", "roi"):
        theirs = last_json(run([WORK / "hftbacktest/bin/python", script, "all", depth, "1"], PERF_DATA=str(WORK / "data")))
        check = theirs["check"]
        is_right = (check["orders_sent"], check["num_trades"]) == W3B[:2] and all(
            near(check[key], wanted, 1e-7) for key, wanted in zip(("position", "balance", "fee"), W3B[2:])
        )
        row(f"W3b, L2 market making with queue model, {theirs['events']:,} events, {depth} book", "events", theirs["events"],
            ("Keel", seconds, True), (f"hftbacktest {theirs['version']}", theirs["s"]["cpu_min"], is_right))


names = [name for name in EMA if SIZE == "full" or name.endswith("100k")]
jobs = [lambda name=name: ema(name) for name in names]
if SIZE != "small":
    jobs += [w3, w2, w3b]
failed = []
for job in jobs:
    try:
        job()
    except Exception as error:  # One job that cannot run must not hide the others.
        failed.append(str(error))
        print(f"could not run: {error}", flush=True)
for name in wrong:
    print(f"WRONG ANSWER: {name}")
sys.exit(1 if wrong or failed else 0)
