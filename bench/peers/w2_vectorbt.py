"""W2 of golden/bench in vectorbt: SMA crosses, long only, all in at the crossing close, fee 0.1 %. Usage: w2_vectorbt.py FOLDER
PAIRS [COLUMNS]: that many pairs at a time, so that memory stays within a few GB. Prints one JSON line."""
import sys
import time
import warnings

import numba
import numpy as np

warnings.filterwarnings("ignore")
import vectorbt

from result import emit

FOLDER, PAIRS, COLUMNS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 100
sys.path.insert(0, sys.argv[4])
sys.dont_write_bytecode = True
from _w2grid import grid

BARS = 100_000


@numba.njit
def sma(values, window):
    out, total = np.full(len(values), np.nan), 0.0
    for at in range(len(values)):
        total += values[at]
        if at >= window:
            total -= values[at - window]
        if at + 1 >= window:
            out[at] = total / window
    return out


def crosses(close, pairs):
    """Entries and exits: where the fast average comes to be above the slow one, and where it no longer is."""
    entries = np.zeros((len(close), len(pairs)), dtype=bool)
    exits = np.zeros_like(entries)
    for column, (fast, slow) in enumerate(pairs):
        is_above = AVERAGES[fast] > AVERAGES[slow]
        begin = slow
        entries[begin:, column] = is_above[begin:] & ~is_above[begin - 1 : -1]
        exits[begin:, column] = ~is_above[begin:] & is_above[begin - 1 : -1]
    return entries, exits


def run(close, pairs):
    orders, returns, drawdowns = 0, 0.0, 0.0
    for at in range(0, len(pairs), COLUMNS):
        entries, exits = crosses(close, pairs[at : at + COLUMNS])
        book = vectorbt.Portfolio.from_signals(close[:, None], entries, exits, init_cash=100.0, fees=0.001, freq="1min")
        orders += int(book.orders.count().sum())
        returns += float(book.total_return().sum())
        drawdowns += float(book.max_drawdown().sum())
    return orders, returns, drawdowns


close = np.fromfile(f"{FOLDER}/bars10m_close.bin", dtype="<f8", count=BARS)
fasts, slows = grid(PAIRS)
pairs = [(fast, slow) for fast in fasts for slow in slows]
sma(close[:10], 3)
# The first call compiles; that is not counted.
AVERAGES = {window: sma(close[:2000], window) for window in {*fasts, *slows}}
run(close[:2000], pairs[:2])
begun = time.process_time()
AVERAGES = {window: sma(close, window) for window in {*fasts, *slows}}
orders, returns, drawdowns = run(close, pairs)
spent = time.process_time() - begun
emit("vectorbt", vectorbt.__version__, BARS * len(pairs), spent, orders=orders, sum_of_returns=returns, sum_of_drawdowns=drawdowns)
