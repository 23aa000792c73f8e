"""binance-connector, Binance's official Python client: REST, raw and combined streams, WebSocket API, listenKey."""

import json
import threading
import time

from binance.error import ClientError
from binance.spot import Spot
from binance.websocket.spot.websocket_api import SpotWebsocketAPIClient
from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient

from checks import HOST, KEY, SECRET, check, finish, guarded

SYMBOL = "ETHUSDT"
REST = f"http://{HOST}"
WS = f"ws://{HOST}"


class Inbox:
    """Messages of one socket, waited for with a deadline."""

    def __init__(self):
        self.messages = []
        self.changed = threading.Condition()

    def __call__(self, _socket, text):
        with self.changed:
            self.messages.append(json.loads(text))
            self.changed.notify_all()

    def wait(self, accept, seconds=20):
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                for message in self.messages:
                    if accept(message):
                        return message
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.changed.wait(left)


def refused(name, code, call):
    try:
        check(name, False, f"accepted: {call()}")
    except ClientError as error:
        check(name, error.error_code == code, f"{error.error_code} {error.error_message}")


def rest(client):
    check("ping", client.ping() == {})
    check("time", abs(client.time()["serverTime"] - time.time() * 1000) < 5_000)
    info = client.exchange_info(symbol=SYMBOL)
    filters = {f["filterType"]: f for f in info["symbols"][0]["filters"]}
    check("filters", {"PRICE_FILTER", "LOT_SIZE", "NOTIONAL"} <= set(filters), filters.keys())
    check("depth", len(client.depth(SYMBOL, limit=5)["bids"]) == 5)
    check("trades", len(client.trades(SYMBOL, limit=5)) > 0)
    check("aggTrades", len(client.agg_trades(SYMBOL, limit=5)) > 0)
    check("klines", len(client.klines(SYMBOL, "1m", limit=10)) == 10)
    check("avgPrice", float(client.avg_price(SYMBOL)["price"]) > 0)
    check("24hr", client.ticker_24hr(SYMBOL)["symbol"] == SYMBOL)
    check("bookTicker", float(client.book_ticker(SYMBOL)["bidPrice"]) > 0)
    price = float(client.ticker_price(SYMBOL)["price"])
    low = f"{price * 0.9:.2f}"

    account = client.account()
    check("account", account["canTrade"] and any(b["asset"] == "USDT" for b in account["balances"]))
    placed = client.new_order(symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.1", price=low, newClientOrderId="connector-1")
    check("placed", placed["status"] == "NEW" and placed["clientOrderId"] == "connector-1", placed)
    check("query by client id", client.get_order(SYMBOL, origClientOrderId="connector-1")["orderId"] == placed["orderId"])
    refused("same client id while open", -2010, lambda: client.new_order(symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.1", price=low, newClientOrderId="connector-1"))
    replaced = client.cancel_and_replace(symbol=SYMBOL, side="BUY", type="LIMIT", cancelReplaceMode="STOP_ON_FAILURE", timeInForce="GTC", quantity="0.2", price=low, cancelOrderId=placed["orderId"])
    check("cancelReplace", replaced["cancelResult"] == "SUCCESS" and replaced["newOrderResult"] == "SUCCESS", replaced)
    check("open orders", len(client.get_open_orders(SYMBOL)) == 1)
    check("cancel all", client.cancel_open_orders(SYMBOL)[0]["status"] == "CANCELED")
    full = client.new_order(symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.1", newOrderRespType="FULL")
    check("market order", full["status"] == "FILLED" and sum(float(f["qty"]) for f in full["fills"]) == 0.1, full)
    quote = client.new_order(symbol=SYMBOL, side="BUY", type="MARKET", quoteOrderQty="50")
    check("by quote quantity", quote["status"] == "FILLED" and float(quote["cummulativeQuoteQty"]) <= 50, quote)
    stop = client.new_order(symbol=SYMBOL, side="SELL", type="STOP_LOSS", quantity="0.1", stopPrice=f"{price * 0.8:.2f}")
    check("stop order canceled", client.cancel_order(SYMBOL, orderId=stop["orderId"])["status"] == "CANCELED")
    oco = client.new_oco_order(
        symbol=SYMBOL, side="SELL", quantity="0.1",
        aboveType="LIMIT_MAKER", abovePrice=f"{price * 1.1:.2f}",
        belowType="STOP_LOSS_LIMIT", belowStopPrice=f"{price * 0.9:.2f}", belowPrice=f"{price * 0.89:.2f}", belowTimeInForce="GTC",
    )
    check("OCO list", len(oco["orders"]) == 2 and oco["listOrderStatus"] == "EXECUTING", oco)
    done = client.cancel_oco_order(SYMBOL, orderListId=oco["orderListId"])
    check("OCO canceled", done["listOrderStatus"] == "ALL_DONE", done)
    check("my trades", len(client.my_trades(SYMBOL)) >= 2)
    check("all orders", len(client.get_orders(SYMBOL)) >= 5)
    check("test order", client.new_order_test(symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.1") == {})

    refused("unknown order", -2013, lambda: client.get_order(SYMBOL, orderId=999_999_999))
    refused("unknown cancel", -2011, lambda: client.cancel_order(SYMBOL, orderId=999_999_999))
    refused("unknown symbol", -1121, lambda: client.depth("NOSUCHPAIR"))
    refused("missing parameter", -1102, lambda: client.new_order(symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="1"))
    refused("lot size", -1013, lambda: client.new_order(symbol=SYMBOL, side="SELL", type="MARKET", quantity="9001"))
    refused("too precise", -1111, lambda: client.new_order(symbol=SYMBOL, side="SELL", type="MARKET", quantity="0.1234567891"))
    refused("wrong secret", -1022, lambda: Spot(KEY, "wrong", base_url=REST).account())
    refused("unknown key", -2015, lambda: Spot("nobody", "wrong", base_url=REST).account())
    refused("receive window too long", -1131, lambda: client.account(recvWindow=60_001))
    return low


def streams(client, low):
    inbox = Inbox()
    combined = SpotWebsocketStreamClient(stream_url=WS, on_message=inbox, is_combined=True)
    combined.subscribe([f"{SYMBOL.lower()}@bookTicker", f"{SYMBOL.lower()}@trade", f"{SYMBOL.lower()}@depth@100ms"], id=7)
    check("subscribe is answered", inbox.wait(lambda m: m.get("id") == 7 and m.get("result") is None))
    for name in ("bookTicker", "trade", "depth@100ms"):
        check(f"stream {name}", inbox.wait(lambda m, name=name: m.get("stream") == f"{SYMBOL.lower()}@{name}"))
    combined.list_subscribe(id=8)
    listed = inbox.wait(lambda m: m.get("id") == 8)
    check("list of subscriptions", listed and len(listed["result"]) == 3, listed)
    combined.unsubscribe([f"{SYMBOL.lower()}@trade"], id=9)
    check("unsubscribe is answered", inbox.wait(lambda m: m.get("id") == 9))
    combined.stop()

    raw = Inbox()
    single = SpotWebsocketStreamClient(stream_url=WS, on_message=raw)
    single.kline(symbol=SYMBOL.lower(), interval="1m", id=1)
    check("raw kline", raw.wait(lambda m: m.get("e") == "kline" and m["k"]["i"] == "1m"))
    single.stop()

    key = client.new_listen_key()["listenKey"]
    check("listenKey kept alive", client.renew_listen_key(key) == {})
    user = Inbox()
    account = SpotWebsocketStreamClient(stream_url=WS, on_message=user)
    account.user_data(listen_key=key, id=1)
    time.sleep(1)
    placed = client.new_order(symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.1", price=low, newClientOrderId="stream-1")
    client.cancel_order(SYMBOL, orderId=placed["orderId"])
    report = user.wait(lambda m: m.get("e") == "executionReport" and m.get("x") == "NEW")
    check("executionReport NEW", report and report["c"] == "stream-1", report)
    canceled = user.wait(lambda m: m.get("e") == "executionReport" and m.get("x") == "CANCELED")
    check("executionReport CANCELED", canceled and canceled["C"] == "stream-1", canceled)
    check("outboundAccountPosition", user.wait(lambda m: m.get("e") == "outboundAccountPosition"))
    account.stop()
    check("listenKey closed", client.close_listen_key(key) == {})


def websocket_api(low):
    inbox = Inbox()
    api = SpotWebsocketAPIClient(stream_url=f"{WS}/ws-api/v3", api_key=KEY, api_secret=SECRET, on_message=inbox)
    api.ping_connectivity(id="ping")
    check("ws ping", inbox.wait(lambda m: m.get("id") == "ping" and m["status"] == 200))
    api.new_order(id="new", symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.1", price=low, newOrderRespType="RESULT")
    placed = inbox.wait(lambda m: m.get("id") == "new")
    check("ws order.place", placed and placed["status"] == 200 and placed["result"]["status"] == "NEW", placed)
    if placed and placed["status"] == 200:
        api.cancel_order(id="cancel", symbol=SYMBOL, orderId=placed["result"]["orderId"])
        check("ws order.cancel", (inbox.wait(lambda m: m.get("id") == "cancel") or {}).get("status") == 200)
    api.account(id="account")
    account = inbox.wait(lambda m: m.get("id") == "account")
    check("ws account.status", account and account["status"] == 200 and "rateLimits" in account, account)
    api.get_order(id="missing", symbol=SYMBOL, orderId=999_999_999)
    missing = inbox.wait(lambda m: m.get("id") == "missing")
    check("ws error", missing and missing["status"] == 400 and missing["error"]["code"] == -2013, missing)
    api.stop()


def main():
    client = Spot(KEY, SECRET, base_url=REST, show_limit_usage=False)
    low = rest(client)
    streams(client, low)
    websocket_api(low)
    usage = Spot(KEY, SECRET, base_url=REST, show_limit_usage=True).account()
    check("weight headers", int(usage["limit_usage"]["x-mbx-used-weight-1m"]) > 0, usage.get("limit_usage"))
    finish("binance-connector", 50)


guarded(main)
