"""ccxt, REST and streams, against the simulated venue: its own unified API, unchanged but for the addresses."""

import asyncio

import ccxt
import ccxt.pro

from checks import HOST, KEY, SECRET, check, finish, guarded

SYMBOL = "BTC/USDT"


def pointed(exchange):
    """Points an exchange object at the venue."""
    api = exchange.urls["api"]
    for name, url in list(api.items()):
        if isinstance(url, str) and url.startswith("https://"):
            path = url.split("/", 3)[3] if url.count("/") > 2 else ""
            api[name] = f"http://{HOST}/{path}"
    if "ws" in api:
        # ccxt recognises spot by "/stream" in the address.
        api["ws"]["spot"] = f"ws://stream@{HOST}/ws"
        api["ws"]["ws-api"]["spot"] = f"ws://{HOST}/ws-api/v3"
    return exchange


def options():
    return {
        "apiKey": KEY,
        "secret": SECRET,
        "enableRateLimit": False,
        "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchMargins": False},
    }


def rest():
    ex = pointed(ccxt.binance(options()))
    markets = ex.load_markets()
    check("load_markets", SYMBOL in markets and "ETH/USDT" in markets)
    market = markets[SYMBOL]
    check("market precision", market["precision"]["price"] == 0.01 and market["precision"]["amount"] == 0.00001, market["precision"])
    check("market limits", market["limits"]["amount"]["max"] == 9000 and market["active"] and market["spot"])
    check("fetch_currencies", "BTC" in ex.currencies)
    check("fetch_time", abs(ex.fetch_time() - ex.milliseconds()) < 5_000)
    check("fetch_status", ex.fetch_status()["status"] == "ok")
    book = ex.fetch_order_book(SYMBOL, 20)
    check("fetch_order_book", len(book["bids"]) == 20 and book["bids"][0][0] < book["asks"][0][0])
    check("the spread is at least three ticks", round((book["asks"][0][0] - book["bids"][0][0]) * 100) >= 3, book["asks"][0])
    ticker = ex.fetch_ticker(SYMBOL)
    check("fetch_ticker", ticker["bid"] < ticker["ask"] and ticker["last"] > 0 and ticker["baseVolume"] > 0)
    check("fetch_tickers", len(ex.fetch_tickers()) >= 2)
    check("fetch_bids_asks", SYMBOL in ex.fetch_bids_asks())
    check("fetch_last_prices", SYMBOL in ex.fetch_last_prices())
    candles = ex.fetch_ohlcv(SYMBOL, "1m", limit=1000)
    steps = {b[0] - a[0] for a, b in zip(candles, candles[1:])}
    check("fetch_ohlcv: 1,000 candles without a gap", len(candles) == 1000 and steps == {60_000}, f"{len(candles)} {steps}")
    check("fetch_ohlcv: high and low", all(c[3] <= min(c[1], c[4]) and c[2] >= max(c[1], c[4]) for c in candles))
    check("fetch_ohlcv: 15m", len(ex.fetch_ohlcv(SYMBOL, "15m", limit=10)) == 10)
    trades = ex.fetch_trades(SYMBOL, limit=10)
    check("fetch_trades", len(trades) > 0 and trades[-1]["price"] > 0)
    balance = ex.fetch_balance()
    check("fetch_balance", balance["USDT"]["total"] == 100_000 and balance["BTC"]["total"] == 2 and balance["ETH"]["total"] == 20)
    fee = ex.fetch_trading_fee(SYMBOL)
    check("fetch_trading_fee", fee["maker"] == 0.001 and fee["taker"] == 0.001)
    check("fetch_trading_fees", SYMBOL in ex.fetch_trading_fees())
    orders(ex)


def orders(ex):
    last = ex.fetch_ticker(SYMBOL)["last"]
    low = ex.price_to_precision(SYMBOL, last * 0.9)
    order = ex.create_order(SYMBOL, "limit", "buy", 0.01, low, {"clientOrderId": "third-party-1"})
    check("create limit order", order["status"] == "open" and order["clientOrderId"] == "third-party-1", order)
    check("fetch_order", ex.fetch_order(order["id"], SYMBOL)["status"] == "open")
    opened = ex.fetch_open_orders(SYMBOL)
    check("fetch_open_orders", [o["id"] for o in opened] == [order["id"]])
    check("balance is locked", ex.fetch_balance()["USDT"]["used"] > 0)
    edited = ex.edit_order(order["id"], SYMBOL, "limit", "buy", 0.02, low)
    check("edit_order replaces", edited["id"] != order["id"] and edited["amount"] == 0.02, edited)
    check("cancel_order", ex.cancel_order(edited["id"], SYMBOL)["status"] == "canceled")
    check("nothing is open", ex.fetch_open_orders(SYMBOL) == [])
    try:
        ex.cancel_order(edited["id"], SYMBOL)
        check("a second cancel is refused", False)
    except ccxt.OrderNotFound:
        check("a second cancel is OrderNotFound", True)
    market = ex.create_order(SYMBOL, "market", "buy", 0.01)
    check("create market order", market["status"] == "closed" and market["filled"] == 0.01 and market["average"] > 0, market)
    check("fills come with the answer", len(market["trades"]) >= 1 and market["fee"]["currency"] == "BTC", market["fee"])
    cost = ex.create_market_buy_order_with_cost(SYMBOL, 100)
    check("market buy by cost", cost["status"] == "closed" and 90 < cost["cost"] <= 100, cost["cost"])
    stop = ex.create_order(SYMBOL, "limit", "sell", 0.005, ex.price_to_precision(SYMBOL, last * 0.8), {"stopPrice": ex.price_to_precision(SYMBOL, last * 0.85)})
    check("create stop-limit order", stop["status"] in ("open", None), stop)
    stop_market = ex.create_order(SYMBOL, "market", "sell", 0.005, None, {"stopLossPrice": ex.price_to_precision(SYMBOL, last * 0.85)})
    check("create stop-market order", stop_market["id"] is not None)
    maker = ex.create_order(SYMBOL, "limit", "sell", 0.005, ex.price_to_precision(SYMBOL, last * 1.1), {"postOnly": True})
    check("create post-only order", maker["id"] is not None)
    try:
        ex.create_order(SYMBOL, "limit", "sell", 0.005, ex.price_to_precision(SYMBOL, last * 0.95), {"postOnly": True})
        check("a crossing post-only order is refused", False)
    except ccxt.OrderImmediatelyFillable:
        check("a crossing post-only order is OrderImmediatelyFillable", True)
    check("three orders are open", len(ex.fetch_open_orders(SYMBOL)) == 3)
    check("cancel_all_orders", len(ex.cancel_all_orders(SYMBOL)) == 3)
    ioc = ex.create_order(SYMBOL, "limit", "buy", 0.01, ex.price_to_precision(SYMBOL, last * 0.9), {"timeInForce": "IOC"})
    check("an IOC order that finds nothing expires", ioc["status"] == "expired" and ioc["filled"] == 0, ioc)
    for amount, price, error in [(100, last, ccxt.InsufficientFunds), (0.00001, last, ccxt.BadRequest)]:
        try:
            ex.create_order(SYMBOL, "limit", "buy", amount, ex.price_to_precision(SYMBOL, price * 0.99))
            check(f"{error.__name__} is raised", False)
        except error:
            check(f"{error.__name__} is raised", True)
    mine = ex.fetch_my_trades(SYMBOL)
    check("fetch_my_trades", sum(t["amount"] for t in mine if t["order"] == market["id"]) == 0.01 and mine[0]["fee"]["cost"] > 0)
    check("fetch_order_trades", all(t["order"] == market["id"] for t in ex.fetch_order_trades(market["id"], SYMBOL)))
    check("fetch_orders", len(ex.fetch_orders(SYMBOL)) >= 7)
    check("fetch_closed_orders", all(o["status"] == "closed" for o in ex.fetch_closed_orders(SYMBOL)))
    oco(ex, last)
    bad = pointed(ccxt.binance({**options(), "secret": "wrong"}))
    try:
        bad.fetch_balance()
        check("a wrong secret is refused", False)
    except ccxt.AuthenticationError:
        check("a wrong secret is AuthenticationError", True)


def oco(ex, last):
    ex.load_markets()
    listed = ex.private_post_orderlist_oco({
        "symbol": "BTCUSDT", "side": "SELL", "quantity": "0.005",
        "aboveType": "LIMIT_MAKER", "abovePrice": ex.price_to_precision(SYMBOL, last * 1.1),
        "belowType": "STOP_LOSS", "belowStopPrice": ex.price_to_precision(SYMBOL, last * 0.9),
    })
    check("OCO is placed", listed["listOrderStatus"] == "EXECUTING" and len(listed["orderReports"]) == 2, listed)
    found = ex.private_get_orderlist({"orderListId": listed["orderListId"]})
    check("OCO is found", found["listClientOrderId"] == listed["listClientOrderId"])
    check("OCO is open", len(ex.private_get_openorderlist()) == 1)
    gone = ex.private_delete_orderlist({"symbol": "BTCUSDT", "orderListId": listed["orderListId"]})
    check("OCO is cancelled", gone["listOrderStatus"] == "ALL_DONE" and len(gone["orderReports"]) == 2, gone)
    check("no list is open", ex.private_get_openorderlist() == [])


async def streams():
    ex = pointed(ccxt.pro.binance(options()))
    try:
        await ex.load_markets()
        limit = 30

        async def within(name, awaitable):
            try:
                return await asyncio.wait_for(awaitable, limit)
            except asyncio.TimeoutError:
                check(name, False, f"nothing within {limit} s")

        first = await within("watch_order_book", ex.watch_order_book(SYMBOL))
        nonce = first["nonce"]
        for _ in range(30):
            book = await within("watch_order_book", ex.watch_order_book(SYMBOL))
            check_book = book["bids"][0][0] < book["asks"][0][0]
            if not check_book:
                check("watch_order_book is never crossed", False, (book["bids"][0], book["asks"][0]))
        check("watch_order_book follows the venue", book["nonce"] > nonce and len(book["bids"]) >= 20, (nonce, book["nonce"]))
        trades = await within("watch_trades", ex.watch_trades(SYMBOL))
        check("watch_trades", trades[-1]["price"] > 0 and trades[-1]["amount"] > 0)
        ticker = await within("watch_ticker", ex.watch_ticker(SYMBOL))
        check("watch_ticker", ticker["last"] > 0)
        candle = await within("watch_ohlcv", ex.watch_ohlcv(SYMBOL, "1m"))
        check("watch_ohlcv", candle[-1][4] > 0)
        best = await within("watch_bids_asks", ex.watch_bids_asks([SYMBOL]))
        check("watch_bids_asks", best[SYMBOL]["bid"] < best[SYMBOL]["ask"])
        both = await within("watch_trades_for_symbols", ex.watch_trades_for_symbols([SYMBOL, "ETH/USDT"]))
        check("watch_trades_for_symbols", len(both) > 0)
        await account_streams(ex, within)
    finally:
        await ex.close()


async def account_streams(ex, within):
    orders = asyncio.ensure_future(ex.watch_orders(SYMBOL))
    balance = asyncio.ensure_future(ex.watch_balance())
    mine = asyncio.ensure_future(ex.watch_my_trades(SYMBOL))
    await asyncio.sleep(1.0)
    last = ex.price_to_precision(SYMBOL, (await ex.fetch_ticker(SYMBOL))["last"] * 0.9)
    placed = await ex.create_order(SYMBOL, "limit", "buy", 0.01, last)
    seen = await within("watch_orders", orders)
    check("watch_orders sees the placement", seen[-1]["id"] == placed["id"] and seen[-1]["status"] == "open", seen[-1])
    held = await within("watch_balance", balance)
    check("watch_balance sees the lock", held["USDT"]["used"] > 0, held["USDT"])
    again = asyncio.ensure_future(ex.watch_orders(SYMBOL))
    await asyncio.sleep(0)
    await ex.cancel_order(placed["id"], SYMBOL)
    seen = await within("watch_orders", again)
    check("watch_orders sees the cancel", seen[-1]["id"] == placed["id"] and seen[-1]["status"] == "canceled", seen[-1])
    bought = await ex.create_order(SYMBOL, "market", "buy", 0.01)
    traded = await within("watch_my_trades", mine)
    check("watch_my_trades sees the fill", traded[-1]["order"] == bought["id"], traded[-1])
    over = await ex.create_order_ws(SYMBOL, "limit", "buy", 0.01, float(last))
    check("create_order_ws", over["status"] == "open", over)
    check("fetch_open_orders_ws", len(await ex.fetch_open_orders_ws(SYMBOL)) == 1)
    check("fetch_order_ws", (await ex.fetch_order_ws(over["id"], SYMBOL))["id"] == over["id"])
    # ccxt leaves the unified balances of this method empty on spot, so its raw answer is looked at.
    raw = {b["asset"]: b for b in (await ex.fetch_balance_ws())["info"]["balances"]}
    check("fetch_balance_ws", float(raw["USDT"]["locked"]) > 0, raw)
    changed = await ex.edit_order_ws(over["id"], SYMBOL, "limit", "buy", 0.02, float(last))
    check("edit_order_ws", changed["amount"] == 0.02, changed)
    gone = await ex.cancel_order_ws(changed["id"], SYMBOL)
    check("cancel_order_ws", gone["status"] == "canceled", gone)
    await ex.create_order_ws(SYMBOL, "limit", "buy", 0.01, float(last))
    check("cancel_all_orders_ws", len(await ex.cancel_all_orders_ws(SYMBOL)) == 1)
    check("fetch_my_trades_ws", len(await ex.fetch_my_trades_ws(SYMBOL)) > 0)
    check("fetch_ohlcv_ws", len(await ex.fetch_ohlcv_ws(SYMBOL, "1m", None, 5)) == 5)


def run():
    rest()
    asyncio.run(streams())
    finish(f"ccxt {ccxt.__version__}", 65)


if __name__ == "__main__":
    guarded(run)
