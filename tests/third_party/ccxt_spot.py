"""ccxt, the Python package, on the simulated venue: REST through the unified methods, streams through ccxt.pro."""

import asyncio

import ccxt.pro as ccxtpro
from ccxt.base.errors import InsufficientFunds, InvalidOrder, OrderNotFound, AuthenticationError, BadSymbol

from checks import KEY, PORT, REST, SECRET, check, finish

SYMBOL = "BTC/USDT"


def exchange(secret=SECRET):
    ex = ccxtpro.binance(
        {
            "apiKey": KEY,
            "secret": secret,
            "enableRateLimit": False,
            "options": {
                "defaultType": "spot",
                "fetchCurrencies": False,
                "fetchMargins": False,
                "fetchMarkets": {"types": ["spot"]},
                "adjustForTimeDifference": True,
            },
        }
    )

    def remap(node):
        for name, value in list(node.items()):
            if isinstance(value, dict):
                remap(value)
            elif isinstance(value, str) and value.startswith("http"):
                node[name] = REST + "/" + value.split("/", 3)[3] if value.count("/") > 2 else REST

    remap(ex.urls["api"])
    ex.urls["api"]["ws"]["spot"] = f"ws://stream@127.0.0.1:{PORT}/ws"
    ex.urls["api"]["ws"]["ws-api"]["spot"] = f"ws://127.0.0.1:{PORT}/ws-api/v3"
    return ex


async def refused(name, kind, call):
    try:
        answer = await call
        check(name, False, f"accepted: {answer}")
    except kind:
        check(name, True)
    except Exception as error:  # the wrong class is a failed check, not a crash
        check(name, False, f"{type(error).__name__}: {error}")


async def public(ex):
    markets = await ex.load_markets()
    check("markets", SYMBOL in markets and "ETH/USDT" in markets, list(markets)[:5])
    market = markets[SYMBOL]
    check("market is active spot", market["active"] and market["spot"], market)
    check("maxQty 9000", market["limits"]["amount"]["max"] == 9000, market["limits"])
    ticker = await ex.fetch_ticker(SYMBOL)
    check("ticker", 30_000 < ticker["last"] < 120_000 and ticker["bid"] < ticker["ask"], ticker)
    book = await ex.fetch_order_book(SYMBOL, 20)
    check("book", len(book["bids"]) >= 5 and book["bids"][0][0] < book["asks"][0][0], book)
    check("spread of at least 3 ticks", book["asks"][0][0] - book["bids"][0][0] >= 0.03 - 1e-9, book["bids"][0])
    candles = await ex.fetch_ohlcv(SYMBOL, "1m", limit=500)
    check("candles", len(candles) == 500 and all(c[3] <= c[1] <= c[2] and c[3] <= c[4] <= c[2] for c in candles), candles[:2])
    check("candles a minute apart", all(b[0] - a[0] == 60_000 for a, b in zip(candles, candles[1:])))
    trades = await ex.fetch_trades(SYMBOL, limit=50)
    check("public trades", len(trades) > 0 and trades[0]["price"] > 0, trades[:1])
    check("server time", abs(await ex.fetch_time() - ex.milliseconds()) < 5_000)
    return ticker


async def orders(ex, ticker):
    balance = await ex.fetch_balance()
    check("funded", balance["USDT"]["total"] >= 90_000 and balance["BTC"]["total"] >= 1, balance.get("USDT"))

    low = float(ex.price_to_precision(SYMBOL, ticker["bid"] * 0.9))
    placed = await ex.create_order(SYMBOL, "limit", "buy", 0.01, low)
    check("limit order is open", placed["status"] == "open" and placed["filled"] == 0, placed)
    fetched = await ex.fetch_order(placed["id"], SYMBOL)
    check("fetched by id", fetched["price"] == low and fetched["amount"] == 0.01, fetched)
    check("open orders", placed["id"] in [o["id"] for o in await ex.fetch_open_orders(SYMBOL)])
    locked = await ex.fetch_balance()
    check("locked exactly", abs(locked["USDT"]["used"] - low * 0.01) < 1e-6, locked["USDT"])
    canceled = await ex.cancel_order(placed["id"], SYMBOL)
    check("canceled", canceled["status"] == "canceled", canceled)
    await refused("cancel twice", OrderNotFound, ex.cancel_order(placed["id"], SYMBOL))

    market = await ex.create_order(SYMBOL, "market", "buy", 0.02)
    check("market order filled", market["status"] == "closed" and abs(market["filled"] - 0.02) < 1e-12, market)
    check("market order has fees and trades", market["average"] > 0 and len(market["trades"]) > 0, market)
    mine = await ex.fetch_my_trades(SYMBOL)
    total = sum(t["amount"] for t in mine if t["order"] == market["id"])
    check("my trades add up", abs(total - 0.02) < 1e-12, mine[-2:])

    stop_price = float(ex.price_to_precision(SYMBOL, ticker["bid"] * 0.8))
    stop_limit = float(ex.price_to_precision(SYMBOL, ticker["bid"] * 0.79))
    stop = await ex.create_order(SYMBOL, "limit", "sell", 0.02, stop_limit, {"stopLossPrice": stop_price})
    check("stop-limit is open", (await ex.fetch_order(stop["id"], SYMBOL))["status"] == "open", stop)
    await ex.cancel_order(stop["id"], SYMBOL)

    sold = await ex.create_order(SYMBOL, "market", "sell", 0.02)
    check("sold", sold["status"] == "closed", sold)
    maker = await ex.create_order(SYMBOL, "limit", "buy", 0.01, low, {"postOnly": True})
    edited = await ex.edit_order(maker["id"], SYMBOL, "limit", "buy", 0.02, low)
    check("cancel-replace", edited["amount"] == 0.02 and edited["id"] != maker["id"], edited)
    await ex.cancel_all_orders(SYMBOL)
    check("nothing open", await ex.fetch_open_orders(SYMBOL) == [])
    check("history", len(await ex.fetch_orders(SYMBOL)) >= 5)
    check("closed orders", len(await ex.fetch_closed_orders(SYMBOL)) >= 2)
    ioc = await ex.create_order(SYMBOL, "limit", "buy", 0.01, low, {"timeInForce": "IOC"})
    check("IOC below the market expires", ioc["status"] in ("expired", "canceled"), ioc)
    check("test order", await ex.create_order(SYMBOL, "limit", "buy", 0.01, low, {"test": True}) is not None)


async def refusals(ex, ticker):
    high = float(ex.price_to_precision(SYMBOL, ticker["ask"] * 1.1))
    await refused("too expensive", InsufficientFunds, ex.create_order(SYMBOL, "limit", "buy", 100, ex.price_to_precision(SYMBOL, ticker["bid"])))
    await refused("post-only that would take", InvalidOrder, ex.create_order(SYMBOL, "limit", "buy", 0.01, high, {"postOnly": True}))
    raw = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    await refused("off the tick", InvalidOrder, ex.private_post_order({**raw, "price": "50000.001"}))
    await refused("below the least value", InvalidOrder, ex.private_post_order({**raw, "price": "50000.00", "quantity": "0.00001"}))
    await refused("unknown symbol", BadSymbol, ex.public_get_depth({"symbol": "NOSUCHPAIR"}))
    wrong = exchange(secret="wrong")
    try:
        await refused("wrong secret", AuthenticationError, wrong.private_get_account())
    finally:
        await wrong.close()


async def first(call, accept, tries=50):
    for _ in range(tries):
        value = await asyncio.wait_for(call(), 20)
        if accept(value):
            return value
    return None


async def streams(ex, ticker):
    book = await first(lambda: ex.watch_order_book(SYMBOL), lambda b: len(b["bids"]) > 5)
    check("watchOrderBook", book and book["bids"][0][0] < book["asks"][0][0])
    trades = await first(lambda: ex.watch_trades(SYMBOL), lambda t: len(t) > 0)
    check("watchTrades", trades and trades[-1]["price"] > 0)
    tick = await first(lambda: ex.watch_ticker(SYMBOL), lambda t: t["last"] is not None)
    check("watchTicker", tick and tick["last"] > 0)
    candles = await first(lambda: ex.watch_ohlcv(SYMBOL, "1m"), lambda c: len(c) > 0)
    check("watchOHLCV", candles and candles[-1][4] > 0)

    orders_seen = asyncio.ensure_future(first(lambda: ex.watch_orders(SYMBOL), lambda os: any(o["status"] == "canceled" for o in os)))
    balance_seen = asyncio.ensure_future(first(lambda: ex.watch_balance(), lambda b: b["USDT"]["used"] is not None))
    trades_seen = asyncio.ensure_future(first(lambda: ex.watch_my_trades(SYMBOL), lambda ts: len(ts) > 0))
    await asyncio.sleep(1.5)
    low = float(ex.price_to_precision(SYMBOL, ticker["bid"] * 0.9))
    placed = await ex.create_order(SYMBOL, "limit", "buy", 0.01, low)
    await ex.cancel_order(placed["id"], SYMBOL)
    await ex.create_order(SYMBOL, "market", "buy", 0.01)
    seen = await asyncio.wait_for(orders_seen, 20)
    check("watchOrders sees the cancel", seen and placed["id"] in [o["id"] for o in seen], seen)
    balance = await asyncio.wait_for(balance_seen, 20)
    check("watchBalance", balance and balance["USDT"]["total"] > 0)
    mine = await asyncio.wait_for(trades_seen, 20)
    check("watchMyTrades", mine and mine[-1]["amount"] > 0)

    over_ws = await ex.create_order_ws(SYMBOL, "limit", "buy", 0.01, low)
    check("order.place over the WebSocket API", over_ws["status"] == "open", over_ws)
    gone = await ex.cancel_order_ws(over_ws["id"], SYMBOL)
    check("order.cancel over the WebSocket API", gone["status"] == "canceled", gone)
    balance = await ex.fetch_balance_ws()
    check("account.status over the WebSocket API", balance["USDT"]["total"] > 0)


async def main():
    ex = exchange()
    try:
        ticker = await public(ex)
        await orders(ex, ticker)
        await refusals(ex, ticker)
        await streams(ex, ticker)
    except Exception as error:
        import traceback

        traceback.print_exc()
        check("no exception", False, f"{type(error).__name__}: {error}")
    finally:
        await ex.close()
    finish()


asyncio.run(main())
