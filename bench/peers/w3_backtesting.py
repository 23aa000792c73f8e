"""W3 of golden/bench in backtesting.py: EMA 20/50 cross, size 1, decide on the close, fill at the next open, fee 0.1 %. Usage:
w3_backtesting.py FOLDER [BARS]. Prints one JSON line."""
import sys
import time
import warnings

import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
import backtesting
from backtesting import Backtest, Strategy

from result import emit

backtesting.backtesting._tqdm = lambda it, **_: it
FOLDER, COUNT = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000


def ema(values, period):
    weight, value, out = 2 / (period + 1), float(values[0]), np.empty(len(values))
    out[0] = value
    for at in range(1, len(values)):
        value += weight * (values[at] - value)
        out[at] = value
    return out


class Cross(Strategy):
    def init(self):
        close = np.asarray(self.data.Close)
        self.fast, self.slow = self.I(ema, close, 20), self.I(ema, close, 50)

    def next(self):
        if len(self.data) <= 50:
            return
        is_above, was_above = self.fast[-1] > self.slow[-1], self.fast[-2] > self.slow[-2]
        is_below, was_below = self.fast[-1] < self.slow[-1], self.fast[-2] < self.slow[-2]
        if is_above and not was_above and not self.position:
            self.buy(size=1)
        elif is_below and not was_below and self.position:
            self.position.close()


column = lambda name: np.fromfile(f"{FOLDER}/bars10m_{name}.bin", dtype="<f8", count=COUNT)
index = pd.to_datetime(np.fromfile(f"{FOLDER}/bars10m_ts.bin", dtype="<i8", count=COUNT), unit="ms")
names = ["Open", "High", "Low", "Close", "Volume"]
table = pd.DataFrame({name: column(name.lower()) for name in names}, index=index)
test = Backtest(table, Cross, cash=1e7, commission=0.001, trade_on_close=False, finalize_trades=False)
begun = time.process_time()
result = test.run()
spent = time.process_time() - begun
strategy = result["_strategy"]
orders = 2 * len(strategy.closed_trades) + len(strategy.trades)
emit("backtesting.py", backtesting.__version__, COUNT, spent, orders=orders, final_equity=round(float(result["Equity Final [$]"]), 5))
