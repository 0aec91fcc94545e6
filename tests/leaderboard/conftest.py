"""The browser that the page is tested in."""

import importlib.util
import os
import shutil

import pytest

from ..support.needs import need

_NAMES = ("chromium", "chromium-browser", "google-chrome")  # the last is what GitHub's machines have
CHROMIUM = os.environ.get("QBENCH_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")
def browser():
    need(importlib.util.find_spec("playwright"), "playwright is not installed; install the extra 'test'")
    need(CHROMIUM, "no chromium found; install Debian's chromium, or name one in QBENCH_CHROMIUM")
    from playwright import sync_api

    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
