"""The page of a running bot in Chromium: token, live fills, actions, a phone's width. Usage: live.py BROWSER FOLDER LAUNCHER."""
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from playwright.sync_api import sync_playwright

BROWSER, FOLDER, LAUNCHER = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3]).resolve()
LIMIT_MS = 30_000
passed = 0
failures = []


def check(name, is_right, why=""):
    global passed
    if is_right:
        passed += 1
    else:
        failures.append(name)
        print(f"FAILED {name} {why}")


def watch(page, base, seen):
    page.on("console", lambda it: seen.append(f"console {it.type}: {it.text}") if it.type in ("error", "warning") else None)
    page.on("pageerror", lambda it: seen.append(f"error: {it}"))
    page.on("request", lambda it: None if it.url.startswith((base, "data:")) else seen.append(f"request: {it.url}"))


def without(seen, status):
    """What was seen but the browser's own line about an answer that is meant to be a refusal."""
    return [line for line in seen if f"status of {status}" not in line]


def sign_in(page, token):
    page.wait_for_selector("#login[open]", timeout=LIMIT_MS)
    page.fill("#token", token)
    page.keyboard.press("Enter")


def until(page, expression, arg=None):
    """Waits for an expression; the page's own policy forbids what Playwright's wait_for_function does."""
    deadline = time.monotonic() + LIMIT_MS / 1000
    while not page.evaluate(expression, arg):
        if time.monotonic() > deadline:
            page.screenshot(path=FOLDER / "bot-failed.png", full_page=True)
            sys.exit(f"FAILED: it never came that {expression} {arg or ''}")
        time.sleep(0.02)


def state_is(page, word):
    until(page, "word => document.getElementById('state').textContent === word", word)


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def refused(browser, base):
    page = browser.new_page()
    seen = []
    watch(page, base, seen)
    page.goto(base)
    page.wait_for_selector("#login[open]", timeout=LIMIT_MS)
    check("without a token it asks for one and shows nothing", page.locator("td").count() == 0 and not seen, str(seen))
    sign_in(page, "0" * 64)
    until(page, "!document.getElementById('login-why').hidden")
    check("a wrong token is told as such", "not known" in page.locator("#login-why").inner_text())
    check("and shows nothing", page.locator("td").count() == 0 and not without(seen, 401), str(seen))
    page.close()


NEXT_FILL = """() => new Promise(done => { const before = fills.length ? fills[0].ts_ns : 0;
  const look = setInterval(() => { if (fills.length && fills[0].ts_ns !== before) { clearInterval(look);
    done({ age: Date.now() - fills[0].ts_ns / 1e6, price: fills[0].price, row: document.querySelector('#fills tbody tr').textContent }); } }, 5); })"""


def watched(browser, base, token):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    seen = []
    watch(page, base, seen)
    page.goto(base)
    sign_in(page, token)
    state_is(page, "active")
    for place in ["figures", "streams", "positions", "fills", "resources", "risk"]:
        until(page, "id => document.getElementById(id).textContent.length > 20", place)
    page.wait_for_selector("#chart svg polygon", state="attached", timeout=LIMIT_MS)
    fills = [page.evaluate(NEXT_FILL) for _ in range(5)]
    check("a fill is shown within a second", min(fill["age"] for fill in fills) < 1000, str(fills))
    check("with its price", all(fill["price"] in fill["row"] for fill in fills), str(fills))
    text = page.inner_text("main")
    check("nothing is shown that is no figure", not re.search(r"NaN|undefined|Infinity|\[object", text), text)
    check("no sideways scrolling", overflow(page) <= 0)
    check("nothing in the console, nobody else asked", not seen, str(seen))
    page.screenshot(path=FOLDER / "bot-wide-light.png", full_page=True)
    page.focus("[data-act=pause]")
    page.keyboard.press("Enter")
    page.wait_for_selector("#confirm[open]")
    page.keyboard.press("Escape")
    check("escape does nothing", page.evaluate("document.getElementById('message').textContent") == "")
    page.click("[data-act=pause]")
    page.click("#confirm button[value=yes]")
    until(page, "document.getElementById('message').textContent.includes('may look, not act')")
    page.wait_for_timeout(1500)
    check("the token to look cannot pause", page.locator("#state").inner_text() == "active")
    check("nothing else in the console", not without(seen, 403), str(seen))
    page.close()


def operated(browser, base, token):
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
    seen = []
    watch(page, base, seen)
    page.goto(base)
    sign_in(page, token)
    state_is(page, "active")
    for place in ["fills", "streams", "resources", "risk"]:
        page.wait_for_selector(f"#{place} tbody tr", timeout=LIMIT_MS)
    page.wait_for_selector("#chart svg polygon", state="attached", timeout=LIMIT_MS)
    check("390 px: no sideways scrolling", overflow(page) <= 0, f"{overflow(page)} px")
    small = page.evaluate("[...document.querySelectorAll('[data-act]')].filter(it => it.getBoundingClientRect().height < 36).length")
    check("390 px: buttons fit a finger", small == 0, str(small))
    page.screenshot(path=FOLDER / "bot-phone-dark.png", full_page=True)
    page.tap("[data-act=pause]")
    page.wait_for_selector("#confirm[open]")
    page.screenshot(path=FOLDER / "bot-phone-confirm.png")
    page.tap("#confirm button[value=yes]")
    state_is(page, "paused")
    check("the token to operate pauses", "confirmed" in page.evaluate("document.getElementById('message').textContent"))
    page.tap("[data-act=resume]")
    page.tap("#confirm button[value=yes]")
    state_is(page, "active")
    page.tap("[data-act=emergency-stop]")
    page.tap("#confirm button[value=yes]")
    until(page, "document.getElementById('message').textContent.startsWith('Nothing was done')")
    check("an emergency stop needs its word", page.locator("#state").inner_text() == "active")
    page.tap("[data-act=emergency-stop]")
    page.fill("#confirm-input", "emergency")
    page.tap("#confirm button[value=yes]")
    state_is(page, "halted")
    page.wait_for_selector("#alerts tbody tr", timeout=LIMIT_MS)
    check("the emergency stop is told as an alert", "critical" in page.inner_text("#alerts"))
    check("nothing in the console while operating", not seen, str(seen))
    page.screenshot(path=FOLDER / "bot-phone-halted.png")
    return page


def main():
    with tempfile.TemporaryDirectory() as scratch:
        log = pathlib.Path(scratch) / "log"
        with log.open("w") as output:
            command = [LAUNCHER, "--paper", "--infinite", "--http", "127.0.0.1:0", "--data-dir", f"{scratch}/data"]
            bot = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + LIMIT_MS / 1000
            while "trading: ready" not in log.read_text(errors="replace"):
                if bot.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"the launcher does not start:\n{log.read_text(errors='replace')}")
                time.sleep(0.05)
            base = re.search(r"observability: (http://[^ ]+/)", log.read_text(errors="replace"))[1]
            tokens = {role: pathlib.Path(f"{scratch}/data/api/{role}.token").read_text().strip() for role in ("read", "operate")}
            with sync_playwright() as playwright:
                chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
                refused(chromium, base)
                watched(chromium, base, tokens["read"])
                page = operated(chromium, base, tokens["operate"])
                bot.terminate()
                bot.wait(60)
                state_is(page, "unreachable")
                check("a bot that is gone is told as such", True)
                chromium.close()
        finally:
            if bot.poll() is None:
                bot.kill()
                bot.wait()


main()
print(f"{passed} passed, {len(failures)} failed")
sys.exit(1 if failures else 0)
