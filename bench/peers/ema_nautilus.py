"""The EMA cross of golden/ema_cross in NautilusTrader. Usage: ema_nautilus.py bars|quotes FILE. Prints one JSON line."""
import sys
import time
from decimal import Decimal

import nautilus_trader
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler, QuoteTickDataWrangler
from nautilus_trader.trading.strategy import Strategy

from result import emit

KIND, FILE = sys.argv[1], sys.argv[2]
VENUE = Venue("SIM")
ID = InstrumentId(Symbol("BTCUSDT"), VENUE)
BAR_TYPE = BarType.from_str(f"{ID}-1-MINUTE-LAST-EXTERNAL")


def instrument():
    return CryptoPerpetual(
        instrument_id=ID, raw_symbol=Symbol("BTCUSDT"), base_currency=BTC, quote_currency=USDT, settlement_currency=USDT,
        is_inverse=False, price_precision=2, size_precision=3, price_increment=Price.from_str("0.01"),
        size_increment=Quantity.from_str("0.001"), ts_event=0, ts_init=0, margin_init=Decimal("0.01"),
        margin_maint=Decimal("0.005"), maker_fee=Decimal("0.0005"), taker_fee=Decimal("0.0005"),
    )


class Cross(Strategy):
    def __init__(self, config):
        super().__init__(config)
        self.count, self.fast, self.slow, self.side, self.sent = 0, 0.0, 0.0, 0, 0

    def on_start(self):
        self.lot = Quantity.from_str("0.010")
        if KIND == "bars":
            self.subscribe_bars(BAR_TYPE)
        else:
            self.subscribe_quote_ticks(ID)

    def on_bar(self, bar):
        self.step(bar.close.as_double())

    def on_quote_tick(self, quote):
        self.step((quote.bid_price.as_double() + quote.ask_price.as_double()) / 2)

    def step(self, x):
        self.count += 1
        if self.count == 1:
            self.fast = self.slow = x
        else:
            a, b = 2 / 11, 2 / 21
            self.fast = a * x + (1 - a) * self.fast
            self.slow = b * x + (1 - b) * self.slow
        if self.count < 20:
            return
        wanted = 1 if self.fast >= self.slow else -1
        if wanted == self.side:
            return
        side = OrderSide.BUY if wanted > 0 else OrderSide.SELL
        for _ in range(2 if self.side else 1):
            self.submit_order(self.order_factory.market(ID, side, self.lot))
            self.sent += 1
        self.side = wanted


def rows():
    table = pd.read_csv(FILE)
    table.index = pd.to_datetime(table.pop("ts_ns"), utc=True)
    if KIND == "bars":
        return BarDataWrangler(BAR_TYPE, instrument()).process(table)
    names = {"bid": "bid_price", "ask": "ask_price"}
    return QuoteTickDataWrangler(instrument()).process(table.rename(columns=names))


engine = BacktestEngine(BacktestEngineConfig(trader_id=TraderId("PEER-001"), logging=LoggingConfig(bypass_logging=True)))
engine.add_venue(VENUE, oms_type=OmsType.NETTING, account_type=AccountType.MARGIN, base_currency=USDT,
                 starting_balances=[Money(1_000_000, USDT)], default_leverage=Decimal(100))
engine.add_instrument(instrument())
data = rows()
engine.add_data(data)
strategy = Cross(StrategyConfig(strategy_id="CROSS-001"))
engine.add_strategy(strategy)
begun = time.process_time()
engine.run()
spent = time.process_time() - begun
filled = sum(1 for order in engine.cache.orders() if order.is_closed and order.filled_qty > 0)
account = engine.cache.account_for_venue(VENUE)
emit("NautilusTrader", nautilus_trader.__version__, len(data), spent, orders=strategy.sent, fills=filled,
     final_position=str(engine.portfolio.net_position(ID)), final_balance=str(account.balance_total(USDT).as_decimal()))
