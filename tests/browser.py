"""A headless Chromium, driven by the W3C WebDriver protocol with the standard library alone.

Debian and Ubuntu have it as the packages ``chromium`` and ``chromium-driver``. It gets a new empty profile, and every name that it would
look up leads nowhere.
"""

import json
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

NAMES = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = """
--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run --disable-background-networking
--disable-component-update --disable-sync --no-proxy-server
""".split()
NOWHERE = "--host-resolver-rules=MAP * ~NOTFOUND"
PATIENCE = 120  # seconds that an answer may take
direct = build_opener(ProxyHandler({}))


def programs() -> tuple[str, str] | None:
    """The browser and its driver; None where one of them is not installed."""
    browser, driver = next((path for name in NAMES if (path := shutil.which(name))), None), shutil.which("chromedriver")
    return None if browser is None or driver is None else (browser, driver)


class Browser:
    """One window. at: the address of its session."""

    def __init__(self, at: str):
        self.at = at

    def call(self, path: str, content=None):
        """What the driver answers to a command; RuntimeError where it refuses."""
        return _call(f"{self.at}/{path}", content or {})

    def open(self, path: Path) -> None:
        """Show a file."""
        self.call("url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments):
        """What a script returns that runs beside the page, whatever the page allows to itself."""
        return self.call("execute/sync", {"script": script, "args": list(arguments)})

    def resize(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Of the page: its width, and whether it is to be dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {"features": scheme}})

    def messages(self) -> list[str]:
        """What the console has said since it was asked last: errors of scripts, what a policy has refused."""
        return [entry["message"] for entry in self.call("se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """The addresses that were asked for since this was asked last."""
        events = [json.loads(entry["message"])["message"] for entry in self.call("se/log", {"type": "performance"})]
        return [x["params"]["request"]["url"] for x in events if x["method"] == "Network.requestWillBeSent"]


def _call(url: str, content=None, method: str | None = None):
    data = None if content is None else json.dumps(content).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with direct.open(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read())["value"]
    except OSError as error:
        told = error.read().decode() if hasattr(error, "read") else str(error)
        raise RuntimeError(f"{url}: {told[:500]}") from None


@contextmanager
def opened():
    """A browser, gone with its profile at the end."""
    browser, driver = programs()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        with subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                port = next(found[1] for line in process.stdout if (found := re.search(r"successfully on port (\d+)", line)))
                options = {"binary": browser, "args": [*OPTIONS, NOWHERE, f"--user-data-dir={profile}"]}
                wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
                made = _call(f"http://127.0.0.1:{port}/session", {"capabilities": {"alwaysMatch": wanted}})
                at = f"http://127.0.0.1:{port}/session/{made['sessionId']}"
                try:
                    yield Browser(at)
                finally:
                    _call(at, method="DELETE")
            finally:
                process.terminate()
