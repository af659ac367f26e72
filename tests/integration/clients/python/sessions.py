"""Sessions of a stock Python client, one after the other: sessions.py URL NUMBER."""

import sys

from playwright.sync_api import sync_playwright

with sync_playwright() as p:
    for i in range(int(sys.argv[2])):
        browser = p.chromium.connect(sys.argv[1])
        page = browser.new_page()
        page.set_content(f"<title>{i}</title>")
        assert page.title() == str(i)
        browser.close()
