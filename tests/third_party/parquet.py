"""DuckDB, Polars and pandas read the catalogue's files as they are: rows, exact sums, times and partitions.

Usage: parquet.py FOLDER  with what `write_samples` printed on stdin.
"""

import glob
import json
import sys
from decimal import Decimal

import duckdb
import pandas
import polars

folder, wanted = sys.argv[1], json.load(sys.stdin)
bars = f"{folder}/bars/**/*.parquet"
scale = {"open": 2, "high": 2, "low": 2, "close": 2, "volume": 5}
start_us = wanted["start_ns"] // 1000


def check(what, found, expected):
    if found != expected:
        sys.exit(f"parquet: {what}: found {found}, expected {expected}")


def exact(values, column):
    """The sum of the decimals that the doubles print as, as a mantissa."""
    total = sum(Decimal(repr(float(value))) for value in values)
    return int(total.scaleb(scale[column]))


def columns(name, get):
    for column in scale:
        check(f"{name}: sum of {column}", exact(get(column), column), wanted[column])


connection = duckdb.connect()
rows, first, last = connection.execute(
    f"select count(*), min(epoch_us(open_time)), max(epoch_us(close_time)) from read_parquet('{bars}', hive_partitioning=true)"
    " where symbol = 'BTCUSDT' and interval = '1m' and venue = 'venue' and market = 'spot'"
).fetchone()
check("duckdb: rows and times", (rows, first, last), (wanted["rows"], start_us, start_us + wanted["rows"] * 60_000_000 - 1))
columns("duckdb", lambda it: [row[0] for row in connection.execute(f"select {it} from read_parquet('{bars}')").fetchall()])

frame = polars.scan_parquet(bars, hive_partitioning=True).collect()
check("polars: rows", frame.height, wanted["rows"])
check("polars: type of time", str(frame.schema["open_time"]), "Datetime(time_unit='us', time_zone='UTC')")
check("polars: first time", frame["open_time"].cast(polars.Int64).min(), start_us)
columns("polars", lambda it: frame[it].to_list())

files = sorted(glob.glob(bars, recursive=True))
table = pandas.concat([pandas.read_parquet(file) for file in files])
check("pandas: rows", len(table), wanted["rows"])
check("pandas: first time", table["open_time"].min(), pandas.Timestamp(start_us, unit="us", tz="UTC"))
columns("pandas", lambda it: table[it].tolist())

trades = f"{folder}/trades/**/*.parquet"
(trade_file,) = glob.glob(trades, recursive=True)
ids = [7, 9_007_199_254_740_993]
check("duckdb: trade ids", [row[0] for row in connection.execute(f"select trade_id from read_parquet('{trades}') order by 1").fetchall()], ids)
check("polars: trade ids", polars.read_parquet(trade_file)["trade_id"].to_list(), ids)
trade_table = pandas.read_parquet(trade_file)
check("pandas: trade ids", trade_table["trade_id"].tolist(), ids)
check("pandas: nanoseconds", [it.value - wanted["start_ns"] for it in trade_table["ts"]], [5, 123_456_789])
check("polars: nanoseconds", polars.read_parquet(trade_file)["ts"].cast(polars.Int64).to_list()[1] - wanted["start_ns"], 123_456_789)
check("pandas: makers", trade_table["is_buyer_maker"].tolist(), [True, False])
for kind, column, value in [("quotes", "ask", 1.04), ("funding", "funding_rate", -0.0001)]:
    (file,) = glob.glob(f"{folder}/{kind}/**/*.parquet", recursive=True)
    check(f"pandas: {kind}", pandas.read_parquet(file)[column].tolist()[-1], value)
    check(f"duckdb: {kind}", connection.execute(f"select {column} from '{file}'").fetchall()[-1][0], value)
    check(f"polars: {kind}", polars.read_parquet(file)[column].to_list()[-1], value)

print(f"parquet: duckdb {duckdb.__version__}, polars {polars.__version__} and pandas {pandas.__version__} read the catalogue exactly")
