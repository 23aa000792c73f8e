"""binance-sdk-spot, Binance's current official SDK: REST, streams, and the account stream over the WebSocket API."""

import asyncio

from binance_common.configuration import ConfigurationRestAPI, ConfigurationWebSocketAPI, ConfigurationWebSocketStreams
from binance_sdk_spot.spot import Spot

from checks import KEY, REST, SECRET, WS, check, finish

SYMBOL = "BTCUSDT"


def client():
    return Spot(
        config_rest_api=ConfigurationRestAPI(api_key=KEY, api_secret=SECRET, base_path=REST),
        config_ws_api=ConfigurationWebSocketAPI(api_key=KEY, api_secret=SECRET, stream_url=f"{WS}/ws-api/v3"),
        config_ws_streams=ConfigurationWebSocketStreams(stream_url=WS),
    )


def rest(spot):
    info = spot.rest_api.exchange_info(symbol=SYMBOL).data()
    check("exchangeInfo", info.symbols[0].symbol == SYMBOL and info.symbols[0].status == "TRADING")
    price = float(spot.rest_api.ticker_price(symbol=SYMBOL).data().actual_instance.price)
    check("price", 30_000 < price < 120_000, price)
    low = round(price * 0.9, 2)
    placed = spot.rest_api.new_order(symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=low).data()
    check("placed", placed.status == "NEW", placed)
    opened = spot.rest_api.get_open_orders(symbol=SYMBOL).data()
    check("open orders", any(order.order_id == placed.order_id for order in opened), opened)
    gone = spot.rest_api.delete_order(symbol=SYMBOL, order_id=placed.order_id).data()
    check("canceled", gone.status == "CANCELED", gone)
    filled = spot.rest_api.new_order(symbol=SYMBOL, side="BUY", type="MARKET", quantity=0.01).data()
    check("market order", filled.status == "FILLED" and float(filled.executed_qty) == 0.01, filled)
    account = spot.rest_api.get_account().data()
    check("account", account.can_trade and len(account.balances) >= 2)
    trades = spot.rest_api.my_trades(symbol=SYMBOL).data()
    check("my trades", len(trades) >= 1)
    return low


async def websocket_api(spot, low):
    connection = await spot.websocket_api.create_connection()
    events = asyncio.Queue(maxsize=1000)
    subscribed = await connection.user_data_stream_subscribe_signature()
    subscribed.stream.on("message", lambda event: events.put_nowait(str(event)))
    placed = (await connection.order_place(symbol=SYMBOL, side="BUY", type="LIMIT", time_in_force="GTC", quantity=0.01, price=low)).data()
    check("order.place", placed.result.order_id > 0, placed)
    canceled = (await connection.order_cancel(symbol=SYMBOL, order_id=placed.result.order_id)).data()
    check("order.cancel", canceled.result is not None, canceled)
    seen = []
    try:
        while not any("CANCELED" in text for text in seen):
            seen.append(await asyncio.wait_for(events.get(), 20))
    except TimeoutError:
        pass
    check("account stream by signature", any("CANCELED" in text for text in seen), seen[-3:])
    depth = (await connection.depth(symbol=SYMBOL, limit=5)).data()
    check("depth", len(depth.result.bids) == 5, depth)
    await spot.websocket_api.close_connection()


async def streams(spot):
    connection = await spot.websocket_streams.create_connection()
    for name, subscribe in (
        ("bookTicker", connection.book_ticker),
        ("trade", connection.trade),
        ("depth", connection.diff_book_depth),
    ):
        got = asyncio.Event()
        stream = await subscribe(symbol=SYMBOL.lower())
        stream.on("message", lambda _message, got=got: got.set())
        try:
            await asyncio.wait_for(got.wait(), 20)
        except TimeoutError:
            pass
        check(f"stream {name}", got.is_set())
        await stream.unsubscribe()
    await spot.websocket_streams.close_connection()


async def main():
    spot = client()
    try:
        low = await asyncio.to_thread(rest, spot)
        await websocket_api(spot, low)
        await streams(spot)
    except Exception as error:
        import traceback

        traceback.print_exc()
        check("no exception", False, f"{type(error).__name__}: {error}")
    finish()


asyncio.run(main())
