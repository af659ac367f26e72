"""Some of the scenarios of ../node/scenarios.mjs with the Python client: scenarios.py URL. One line of JSON for each."""

import hashlib
import http.server
import json
import pathlib
import re
import sys
import tempfile
import threading
import traceback
import zipfile

from playwright.sync_api import Error, expect, sync_playwright

PAGE = "<!doctype html><title>Site</title><h1>Hello</h1><a href=/next>next</a>"


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        if self.path == "/file":
            self.send_header("Content-Disposition", "attachment; filename=report.bin")
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"r" * 100_000 if self.path == "/file" else PAGE.encode())

    def log_message(self, *args):
        pass


def failure(call):
    try:
        call()
    except Error as e:
        return e.message.split("\nCall log:")[0]
    return "no error"


def emulation(browser, site, folder):
    context = browser.new_context(locale="de-DE", timezone_id="Asia/Tokyo", color_scheme="dark", viewport={"width": 800, "height": 600},
                                  device_scale_factor=2, geolocation={"latitude": 1, "longitude": 2}, permissions=["geolocation"])
    page = context.new_page()
    page.goto(site)
    value = page.evaluate("""async () => [navigator.language, new Date(0).toLocaleString(), innerWidth, devicePixelRatio, matchMedia('(prefers-color-scheme: dark)').matches,
        await new Promise(done => navigator.geolocation.getCurrentPosition(p => done(p.coords.latitude)))]""")
    context.close()
    return value


def cookies_and_state(browser, site, folder):
    context = browser.new_context()
    context.add_cookies([{"name": "a", "value": "b", "url": site}])
    page = context.new_page()
    page.goto(site)
    page.evaluate("localStorage.setItem('k', 'v')")
    state = context.storage_state(path=folder / "state.json")
    other = browser.new_context(storage_state=folder / "state.json")
    again = other.new_page()
    again.goto(site)
    value = [state, again.evaluate("[document.cookie, localStorage.getItem('k')]")]
    context.close()
    other.close()
    return value


def files(browser, site, folder):
    context = browser.new_context()
    page = context.new_page()
    page.goto(site)
    page.set_content("<a href=/file>file</a><input type=file multiple>")
    with page.expect_download() as download:
        page.click("a")
    download.value.save_as(folder / "saved")
    (folder / "up.txt").write_text("up")
    page.set_input_files("input", [folder / "up.txt"])
    value = [download.value.suggested_filename, len((folder / "saved").read_bytes()), page.evaluate("document.querySelector('input').files[0].text()")]
    page.set_input_files("input", {"name": "b", "mimeType": "text/plain", "buffer": b"x" * (2 << 20)})
    value += [page.evaluate("document.querySelector('input').files[0].size"), failure(lambda: download.value.path())]
    context.close()
    return value


def records(browser, site, folder):
    context = browser.new_context(record_har_path=folder / "a.har")
    context.tracing.start(screenshots=True, snapshots=True, sources=True)
    page = context.new_page()
    page.goto(site)
    page.click("a")
    context.tracing.stop(path=folder / "trace.zip")
    context.close()
    names = sorted({re.sub(r".*[0-9a-f]{32}.*\.", "N.", n) for n in zipfile.ZipFile(folder / "trace.zip").namelist()})
    har = json.loads((folder / "a.har").read_text())["log"]["entries"]
    replay = browser.new_context()
    replay.route_from_har(folder / "a.har")
    page = replay.new_page()
    page.goto(site)
    value = [names, [[e["request"]["url"], e["response"]["status"]] for e in har if "favicon" not in e["request"]["url"]], page.title()]
    replay.close()
    return value


def routes_and_bindings(browser, site, folder):
    context = browser.new_context()
    page = context.new_page()
    page.route("**/made", lambda route: route.fulfill(json={"a": 1}))
    page.route("**/blocked", lambda route: route.abort())
    page.route_web_socket("**/ws", lambda ws: ws.on_message(lambda m: ws.send("mocked " + m)))
    page.expose_function("there", lambda a: a + 1)
    page.add_init_script("window.early = 1")
    page.goto(site)
    value = page.evaluate("""async () => [await (await fetch('/made')).json(), await fetch('/blocked').catch(e => e.message), await there(41), early,
        await new Promise(done => { const ws = new WebSocket('ws://' + location.host + '/ws'); ws.onopen = () => ws.send('x'); ws.onmessage = e => done(e.data); })]""")
    value.append(context.request.get(site + "/next").status)
    context.close()
    return value


def events(browser, site, folder):
    context = browser.new_context()
    page = context.new_page()
    seen = []
    page.on("console", lambda m: seen.append(m.text))
    page.on("dialog", lambda d: d.accept("said"))
    page.goto(site)
    with page.expect_popup() as popup:
        page.evaluate("() => { window.open('/next'); }")
    with page.expect_event("pageerror") as error:
        page.evaluate("() => { console.log('logged'); setTimeout(() => { throw new Error('thrown'); }); }")
    value = [page.evaluate("prompt('name')"), popup.value.title(), error.value.message, seen, failure(lambda: page.click("#none", timeout=50)), failure(lambda: page.evaluate("syntax error("))]
    context.close()
    return value


def views(browser, site, folder):
    context = browser.new_context()
    page = context.new_page()
    page.set_content("<h1>Title</h1><button>go</button><p style='height:1500px;background:linear-gradient(red, blue)'>")
    expect(page.get_by_role("button", name="go")).to_be_visible()
    pictures = [hashlib.sha1(p).hexdigest() for p in (page.screenshot(), page.screenshot(full_page=True), page.locator("h1").screenshot(type="jpeg"))]
    value = [pictures, page.pdf()[:5].decode(), page.locator("body").aria_snapshot()]
    cdp = context.new_cdp_session(page)
    value.append(cdp.send("Runtime.evaluate", {"expression": "6 * 7"})["result"]["value"])
    context.close()
    return value


def main():
    url = sys.argv[1]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.connect(url)
        for run in (emulation, cookies_and_state, files, records, routes_and_bindings, events, views):
            line = {"name": run.__name__}
            try:
                scratch = pathlib.Path(folder) / run.__name__
                scratch.mkdir()
                line["value"] = json.loads(json.dumps(run(browser, site, scratch)).replace(folder, "DIR").replace(site, "SITE"))
            except Exception:
                line["error"] = traceback.format_exc()
            print(json.dumps(line), flush=True)
        browser.close()
    print('{"name": "end"}', flush=True)


main()
