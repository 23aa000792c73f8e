"""Opens the pages of a report in Chromium and looks at what a person would see. Usage: pages.py BROWSER FOLDER."""
import pathlib
import sys

from playwright.sync_api import sync_playwright

BROWSER, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
WIDTHS = {"wide": 1280, "narrow": 400}
# Page, charts that must be drawn on it, rows of the trade list on its first page.
PAGES = [
    ("run.html", ["equity", "drawdown", "exposure", "rolling", "price-0", "price-0-0", "spread-days", "spread-trades"], 25),
    ("plot.html", ["price-0", "price-0-0", "equity", "drawdown", "exposure"], None),
    ("hostile.html", ["equity", "price-0"], 25),
    ("returns.html", ["equity", "drawdown", "rolling", "spread-days"], None),
    ("still.html", ["equity", "drawdown", "price-0"], None),
    ("ruined.html", ["equity", "drawdown", "exposure"], 3),
    ("empty.html", [], None),
]
passed = 0
failures = []


def check(name, is_right, why=""):
    global passed
    if is_right:
        passed += 1
    else:
        failures.append(f"{name} {why}".strip())
        print(f"FAILED {name} {why}")


DRAWN = """id => { const place = document.getElementById(id); if (!place) return null;
  const marks = [...place.querySelectorAll('path.stroke, path.body, path.wick, rect.bar')];
  const box = place.querySelector('svg')?.getBoundingClientRect();
  return { marks: marks.length, points: marks.reduce((sum, it) => sum + (it.getAttribute('d') || 'rect').length, 0),
           width: box ? box.width : 0, labels: place.querySelectorAll('text').length,
           bad: place.innerHTML.includes('NaN') || place.innerHTML.includes('undefined') || place.innerHTML.includes('Infinity') }; }"""


def watch(page, seen):
    page.on("console", lambda it: seen.append(f"console {it.type}: {it.text}") if it.type in ("error", "warning") else None)
    page.on("pageerror", lambda it: seen.append(f"error: {it}"))
    page.on("request", lambda it: None if it.url.startswith(("file:", "data:")) else seen.append(f"request: {it.url}"))
    page.on("dialog", lambda it: seen.append(f"dialog: {it.message}"))


def look(browser, name, charts, rows, width_name, scheme):
    width, what = WIDTHS[width_name], f"{name} {width_name} {scheme}"
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = []
    watch(page, seen)
    page.goto((FOLDER / name).as_uri())
    check(f"{what}: nothing in the console, nothing from the network", not seen, str(seen))
    for chart in charts:
        drawn = page.evaluate(DRAWN, chart)
        is_drawn = drawn and drawn["marks"] > 0 and drawn["points"] > 20 and drawn["width"] > 200 and drawn["labels"] > 2
        check(f"{what}: {chart} is drawn", is_drawn and not drawn["bad"], str(drawn))
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    check(f"{what}: no sideways scrolling", overflow <= 0, f"{overflow} px too wide")
    cut = page.evaluate("[...document.querySelectorAll('.cards .value')].filter(it => it.scrollWidth > it.clientWidth).map(it => it.textContent)")
    check(f"{what}: no card is cut off", not cut, str(cut))
    check(f"{what}: no markup came alive", page.evaluate("window.broken === undefined && document.querySelectorAll('img').length === 0"))
    if rows is not None:
        count = page.locator("#trades tbody tr").count()
        check(f"{what}: {rows} trades on the first page", count == rows, f"{count}")
    page.screenshot(path=FOLDER / f"{name[:-5]}-{width_name}-{scheme}.png", full_page=True)
    page.close()


def work(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    seen = []
    watch(page, seen)
    page.goto((FOLDER / "run.html").as_uri())
    place = page.locator("#equity")
    box = place.bounding_box()
    page.mouse.move(box["x"] + 500, box["y"] + 100)
    check("hovering shows the time and the value", "2024-" in page.locator("#equity").locator("xpath=..").locator(".legend").inner_text())
    lines = page.evaluate("[...document.querySelectorAll('.cross')].filter(it => it.getAttribute('visibility') === 'visible').length")
    check("hovering points at the same time in every chart", lines >= 5, str(lines))
    before = page.evaluate("document.querySelector('#equity path.stroke').getAttribute('d')")
    page.mouse.down()
    page.mouse.move(box["x"] + 560, box["y"] + 120, steps=4)
    page.mouse.up()
    after = page.evaluate("document.querySelector('#equity path.stroke').getAttribute('d')")
    check("dragging zooms", before != after and page.locator(".reset").first.is_visible())
    candles = page.evaluate("document.querySelectorAll('#price-0 path.body').length")
    check("the price shows candles when it is close enough", candles == 2, str(candles))
    page.screenshot(path=FOLDER / "run-zoomed.png", full_page=True)
    page.locator(".reset").first.click()
    again = page.evaluate("document.querySelector('#equity path.stroke').getAttribute('d')")
    check("one button shows the whole run again", before == again)
    place.focus()
    for key in ["ArrowRight", "+", "ArrowLeft"]:
        page.keyboard.press(key)
    check("the keyboard zooms and reads out", page.locator(".reset").first.is_visible() and "Equity" in page.locator("#live").inner_text())
    page.keyboard.press("Escape")
    check("escape shows the whole run again", not page.locator(".reset").first.is_visible())
    tabs = page.locator("[role=tab]")
    tabs.nth(1).click()
    check("a tab shows its market", page.evaluate(DRAWN, "price-1")["marks"] > 0 and not page.locator("#market-0").is_visible())
    trades(page)
    page.locator("#theme").click()
    check("the theme can be chosen", page.evaluate("document.documentElement.dataset.theme") == "dark")
    page.set_viewport_size({"width": 500, "height": 900})
    # Charts are drawn anew a moment after the window has come to rest.
    narrow = "document.querySelector('#equity svg').viewBox.baseVal.width < 500"
    try:
        page.wait_for_function(narrow, timeout=10_000)
    except Exception:
        pass
    check("charts follow the window", page.evaluate(narrow))
    check("nothing in the console while working", not seen, str(seen))
    page.close()


def trades(page):
    column = lambda at: page.evaluate(f"[...document.querySelectorAll('#trades tbody tr')].map(it => Number(it.cells[{at}].dataset.v))")
    head = page.locator("#trades thead th").nth(9)
    head.locator("button").click()
    rising = column(9)
    head.locator("button").click()
    falling = column(9)
    check("a column sorts both ways", rising == sorted(rising) and falling == sorted(falling, reverse=True) and falling[0] > rising[0])
    check("and says so", head.get_attribute("aria-sort") == "descending")
    page.locator("#next").click()
    check("the next page goes on", max(column(9)) <= min(falling))
    page.locator("#search").fill("stop-loss")
    found = page.evaluate("[...document.querySelectorAll('#trades tbody tr')].every(it => it.textContent.includes('stop-loss'))")
    check("searching leaves what was looked for", found and page.locator("#trades tbody tr").count() > 0)
    page.locator("#search").fill("no such thing")
    check("searching in vain is an empty list", page.locator("#trades tbody tr").count() == 0 and "none" in page.locator("#page").inner_text())
    page.locator("#search").fill("")
    page.locator("#trades tbody tr").first.click()
    check("a click on a trade shows it on the price", page.locator(".reset").first.is_visible())
    page.locator(".reset").first.click()


def without_script(browser):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto((FOLDER / "run.html").as_uri())
    check("without script every listed trade is there", page.locator("#trades tbody tr").count() > 300)
    check("without script the figures are there", page.get_by_text("mean(r)/std(r, ddof 1)·√P").is_visible())
    context.close()


with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
    for name, charts, rows in PAGES:
        for width_name in WIDTHS:
            for scheme in ["light", "dark"]:
                if scheme == "light" or name in ("run.html", "returns.html"):
                    look(chromium, name, charts, rows, width_name, scheme)
        largest = (FOLDER / name).stat().st_size
        check(f"{name}: below 4 MiB", largest < 4 << 20, f"{largest} bytes")
    work(chromium)
    without_script(chromium)
    chromium.close()
print(f"{passed} passed, {len(failures)} failed")
sys.exit(1 if failures else 0)
