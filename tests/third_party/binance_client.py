"""Binance's own Python client (binance-sdk-spot) and python-binance against the simulated venue.

The official client checks every answer and event against its models, so a field of the wrong kind fails here.
"""

import asyncio
import logging

import binance
from binance import AsyncClient, BinanceSocketManager
from binance_common.configuration import (
    ConfigurationRestAPI,
    ConfigurationWebSocketAPI,
    ConfigurationWebSocketStreams,
)
from binance_common.errors import BadRequestError, UnauthorizedError
from binance_sdk_spot.spot import Spot

from checks import HOST, KEY, SECRET, check, finish, guarded

SYMBOL = "BTCUSDT"
# The SDK only logs what goes wrong inside its callbacks; here that is a failure.
_problems = []


class Problems(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.ERROR:
            _problems.append(record.getMessage())


def client(secret=SECRET):
    return Spot(
        config_rest_api=ConfigurationRestAPI(api_key=KEY, api_secret=secret, base_path=f"http://{HOST}", timeout=5000, retries=0),
        config_ws_api=ConfigurationWebSocketAPI(api_key=KEY, api_secret=secret, stream_url=f"ws://{HOST}/ws-api/v3"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=f"ws://{HOST}/stream"),
    )


def sdk_rest():
    api = client().rest_api
    api.ping()
    check("sdk: time", api.time().data().server_time > 1_600_000_000_000)
    info = api.exchange_info().data()
    check("sdk: exchange_info", [s.symbol for s in info.symbols] == ["BTCUSDT", "ETHUSDT"])
    limits = api.exchange_info(symbol=SYMBOL).rate_limits
    check("sdk: rate limit headers", any(limit.count > 0 for limit in limits), limits)
    book = api.depth(symbol=SYMBOL, limit=10).data()
    check("sdk: depth", len(book.bids) == 10 and float(book.bids[0][0]) < float(book.asks[0][0]))
    check("sdk: trades", len(api.get_trades(symbol=SYMBOL, limit=5).data()) > 0)
    check("sdk: historical_trades", len(api.historical_trades(symbol=SYMBOL, limit=5).data()) > 0)
    check("sdk: agg_trades", len(api.agg_trades(symbol=SYMBOL, limit=5).data()) > 0)
    check("sdk: klines", len(api.klines(symbol=SYMBOL, interval="1m", limit=1000).data()) == 1000)
    check("sdk: ui_klines", len(api.ui_klines(symbol=SYMBOL, interval="1h", limit=3).data()) == 3)
    check("sdk: avg_price", float(api.avg_price(symbol=SYMBOL).data().price) > 0)
    for name, call in {
        "ticker24hr": lambda: api.ticker24hr(symbol=SYMBOL),
        "ticker_price": lambda: api.ticker_price(symbol=SYMBOL),
        "ticker_book_ticker": lambda: api.ticker_book_ticker(symbol=SYMBOL),
        "ticker": lambda: api.ticker(symbol=SYMBOL, window_size="1h"),
        "ticker_trading_day": lambda: api.ticker_trading_day(symbol=SYMBOL),
    }.items():
        check(f"sdk: {name}", call().data() is not None)
    account = api.get_account().data()
    held = {b.asset: float(b.free) for b in account.balances}
    check("sdk: account", held["USDT"] > 0 and account.can_trade and account.account_type == "SPOT", held)
    check("sdk: commission", float(api.account_commission(symbol=SYMBOL).data().standard_commission.maker) == 0.001)
    sdk_orders(api)


def sdk_orders(api):
    last = float(api.ticker_price(symbol=SYMBOL).data().actual_instance.price)
    low, high = round(last * 0.9, 2), round(last * 1.1, 2)
    api.order_test(symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=low)
    order = api.new_order(
        symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=low, new_client_order_id="sdk-1", strategy_id=7
    ).data()
    check("sdk: limit order", order.status == "NEW" and order.client_order_id == "sdk-1", order)
    found = api.get_order(symbol=SYMBOL, order_id=order.order_id).data()
    check("sdk: get_order", found.status == "NEW" and found.strategy_id == 7, found)
    check("sdk: open orders", len(api.get_open_orders(symbol=SYMBOL).data()) == 1)
    amended = api.order_amend_keep_priority(symbol=SYMBOL, new_qty=0.005, order_id=order.order_id).data()
    check("sdk: amend", float(amended.amended_order.qty) == 0.005, amended)
    check("sdk: amendments", len(api.order_amendments(symbol=SYMBOL, order_id=order.order_id).data()) == 1)
    gone = api.delete_order(symbol=SYMBOL, order_id=order.order_id).data()
    check("sdk: cancel", gone.status == "CANCELED", gone)
    bought = api.new_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01).data()
    check("sdk: market order", bought.status == "FILLED" and len(bought.fills) > 0, bought)
    stop = api.new_order(symbol=SYMBOL, side="SELL", type="STOP_LOSS_LIMIT", time_in_force="GTC", quantity=0.01, price=low, stop_price=round(last * 0.92, 2)).data()
    check("sdk: stop order", stop.order_id > 0)
    replaced = api.order_cancel_replace(
        symbol=SYMBOL, side="SELL", type="LIMIT", cancel_replace_mode="STOP_ON_FAILURE", time_in_force="GTC",
        quantity=0.01, price=high, cancel_order_id=stop.order_id,
    ).data()
    check("sdk: cancel-replace", replaced.cancel_result == "SUCCESS" and replaced.new_order_result == "SUCCESS", replaced)
    oco = api.order_list_oco(
        symbol=SYMBOL, side="SELL", quantity=0.01, above_type="LIMIT_MAKER", below_type="STOP_LOSS_LIMIT", above_price=high,
        below_price=low, below_stop_price=round(last * 0.92, 2), below_time_in_force="GTC",
    ).data()
    check("sdk: oco", oco.contingency_type == "OCO" and len(oco.order_reports) == 2, oco)
    check("sdk: order list", api.get_order_list(order_list_id=oco.order_list_id).data().list_order_status == "EXECUTING")
    check("sdk: cancel all", len(api.delete_open_orders(symbol=SYMBOL).data()) == 2)
    check("sdk: my trades", sum(float(t.qty) for t in api.my_trades(symbol=SYMBOL, order_id=bought.order_id).data()) == 0.01)
    check("sdk: all orders", len(api.all_orders(symbol=SYMBOL).data()) >= 5)
    check("sdk: order rate limit", api.rate_limit_order().data()[0].count >= 0)
    try:
        api.new_order(symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=round(low + 0.001, 3))
        check("sdk: a price off the tick is refused", False)
    except BadRequestError as error:
        check("sdk: a price off the tick is refused", "PRICE_FILTER" in str(error), error)
    try:
        client("wrong").rest_api.get_account()
        check("sdk: a wrong secret is refused", False)
    except (UnauthorizedError, BadRequestError) as error:
        check("sdk: a wrong secret is refused", "Signature" in str(error), error)


async def sdk_streams():
    spot = client()
    streams = spot.websocket_streams
    await streams.create_connection()
    seen = {}
    handles = {
        "trade": await streams.trade(symbol="btcusdt"),
        "aggTrade": await streams.agg_trade(symbol="btcusdt"),
        "bookTicker": await streams.book_ticker(symbol="btcusdt"),
        "depth": await streams.diff_book_depth(symbol="btcusdt", update_speed="100ms"),
        "depth20": await streams.partial_book_depth(symbol="btcusdt", levels="20", update_speed="100ms"),
        "kline": await streams.kline(symbol="btcusdt", interval="1m"),
        "miniTicker": await streams.mini_ticker(symbol="btcusdt"),
        "ticker": await streams.ticker(symbol="btcusdt"),
        "all mini tickers": await streams.all_mini_ticker(),
        "rolling ticker": await streams.rolling_window_ticker(symbol="btcusdt", window_size="1h"),
        "avgPrice": await streams.avg_price(symbol="btcusdt"),
    }
    for name, handle in handles.items():
        handle.on("message", lambda message, name=name: seen.setdefault(name, message))
    for _ in range(200):
        if len(seen) == len(handles):
            break
        await asyncio.sleep(0.1)
    check("sdk: every stream has said something", set(seen) == set(handles), set(handles) - set(seen))
    listed = await streams.list_subscribe()
    check("sdk: list of subscriptions", "btcusdt@trade" in str(listed), listed)
    await streams.close_connection(close_session=True)
    await sdk_ws_api(spot)


async def sdk_ws_api(spot):
    api = spot.websocket_api
    await api.create_connection()
    check("sdk ws: time", (await api.time()).data().result.server_time > 0)
    events = []
    stream = await api.user_data_stream_subscribe_signature()
    stream.stream.on("message", events.append)
    last = float((await api.ticker_price(symbol=SYMBOL)).data().actual_instance.result.price)
    low = round(last * 0.9, 2)
    placed = (await api.order_place(symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=low)).data().result
    check("sdk ws: order.place", placed.status == "NEW", placed)
    status = (await api.order_status(symbol=SYMBOL, order_id=placed.order_id)).data().result
    check("sdk ws: order.status", status.status == "NEW", status)
    check("sdk ws: openOrders.status", len((await api.open_orders_status(symbol=SYMBOL)).data().result) == 1)
    gone = (await api.order_cancel(symbol=SYMBOL, order_id=placed.order_id)).data().result
    check("sdk ws: order.cancel", gone.actual_instance.status == "CANCELED" if hasattr(gone, "actual_instance") else gone.status == "CANCELED", gone)
    await api.order_place(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01)
    check("sdk ws: account.status", (await api.account_status()).data().result.can_trade)
    check("sdk ws: myTrades", len((await api.my_trades(symbol=SYMBOL)).data().result) > 0)
    check("sdk ws: session.status", (await api.session_status()).data().result.user_data_stream)
    await asyncio.sleep(0.5)
    kinds = [type(getattr(event, "actual_instance", event)).__name__ for event in events]
    check("sdk ws: account events", "ExecutionReport" in kinds and "OutboundAccountPosition" in kinds, kinds)
    await api.user_data_stream_unsubscribe()
    await api.close_connection(close_session=True)


async def python_binance():
    AsyncClient.API_URL = f"http://{HOST}/api"
    AsyncClient.MARGIN_API_URL = f"http://{HOST}/sapi"
    AsyncClient.WS_API_URL = f"ws://{HOST}/ws-api/v3"
    BinanceSocketManager.STREAM_URL = f"ws://{HOST}/"
    api = await AsyncClient.create(KEY, SECRET)
    try:
        info = await api.get_symbol_info(SYMBOL)
        check("python-binance: symbol info", info["status"] == "TRADING")
        check("python-binance: klines", len(await api.get_klines(symbol=SYMBOL, interval="1m", limit=10)) == 10)
        check("python-binance: order book", len((await api.get_order_book(symbol=SYMBOL, limit=5))["bids"]) == 5)
        check("python-binance: balance", float((await api.get_asset_balance(asset="USDT"))["free"]) > 0)
        check("python-binance: trade fee", (await api.get_trade_fee(symbol=SYMBOL))[0]["makerCommission"] == "0.001")
        check("python-binance: key permissions", (await api.get_account_api_permissions())["enableWithdrawals"] is False)
        manager = BinanceSocketManager(api)
        async with manager.user_socket() as user:
            last = float((await api.get_symbol_ticker(symbol=SYMBOL))["price"])
            order = await api.order_limit_buy(symbol=SYMBOL, quantity=0.01, price=f"{last * 0.9:.2f}")
            check("python-binance: limit order", order["status"] == "NEW")
            event = await asyncio.wait_for(user.recv(), 10)
            check("python-binance: user socket", event["e"] in ("executionReport", "outboundAccountPosition"), event)
            gone = await api.cancel_order(symbol=SYMBOL, orderId=order["orderId"])
            check("python-binance: cancel", gone["status"] == "CANCELED")
        async with manager.trade_socket(SYMBOL) as trades:
            check("python-binance: trade socket", (await asyncio.wait_for(trades.recv(), 10))["e"] == "trade")
        async with manager.multiplex_socket(["btcusdt@bookTicker", "ethusdt@depth@100ms"]) as many:
            names = set()
            for _ in range(200):
                names.add((await asyncio.wait_for(many.recv(), 10))["stream"])
                if len(names) == 2:
                    break
            check("python-binance: multiplex socket", len(names) == 2, names)
        key = await api.stream_get_listen_key()
        await api.stream_keepalive(key)
        check("python-binance: listenKey", len(key) == 60)
        placed = await api.ws_create_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01)
        check("python-binance: order over the WebSocket API", placed["status"] == "FILLED", placed)
    finally:
        await api.close_connection()


def run():
    logging.getLogger().addHandler(Problems())
    sdk_rest()
    asyncio.run(sdk_streams())
    check("sdk: nothing went wrong in its callbacks", _problems == [], _problems)
    asyncio.run(python_binance())
    finish(f"binance-sdk-spot, python-binance {binance.__version__}", 55)


if __name__ == "__main__":
    guarded(run)
