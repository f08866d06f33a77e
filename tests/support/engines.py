"""Firefox, WebKit and Chromium, driven in the few ways that the main stories need, each by its own protocol."""

from __future__ import annotations

import glob
import json
import os
import shutil
import subprocess
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.wsgi_servers import free_port

PATIENCE = 30
"""Seconds after which a page is not coming."""


class Engine(ABC):
    """A browser with one page."""

    @abstractmethod
    def open(self, url: str) -> None:
        """Go to ``url`` and wait until it is loaded."""

    @abstractmethod
    def back(self) -> None:
        """Press Back."""

    @abstractmethod
    def run(self, script: str) -> Any:
        """Return what the expression ``script`` is within the page."""

    def reload(self) -> None:
        """Load the page again."""
        self.run("void setTimeout(() => location.reload(), 0)")

    def fill(self, name: str, text: str) -> None:
        """Put ``text`` into the field ``name`` at once. No event tells the page, which would send a whole code by itself."""
        self.run(
            f"(() => {{ const field = document.querySelector('[name={name}]'); field.focus();"
            f" field.value = {json.dumps(text)};"
            " })()"
        )

    def press(self, action: str) -> None:
        """Press the button of the form that goes to ``action``."""
        self.run(
            f"(() => {{ const form = [...document.forms].find(form => new URL(form.action).pathname === '{action}');"
            " if (form) setTimeout(() => form.querySelector('button').click(), 0); })()"
        )

    def wait(self, script: str) -> None:
        """Wait until the expression ``script`` is true within the page."""
        pause = threading.Event()
        for _ in range(20 * PATIENCE):
            try:
                if self.run(f"Boolean({script})"):
                    return
            except Exception:  # noqa: BLE001, S110  # between two pages there is none to ask
                pass
            pause.wait(0.05)
        raise AssertionError(f"{script} at {self.run('location.href')}: {self.run('document.body.innerText')}")

    def at(self, path: str) -> None:
        """Wait until the page at ``path`` is loaded."""
        self.wait(f"location.pathname === {json.dumps(path)} && document.readyState === 'complete'")


class Firefox(Engine):
    """Debian's Firefox over WebDriver BiDi, which needs no driver beside it."""

    def __init__(self, port: int) -> None:
        websocket = pytest.importorskip("websocket")

        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}/session", timeout=PATIENCE, suppress_origin=True
        )
        self._count = 0
        self._call("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        self._context = self._call("browsingContext.getTree")["contexts"][0]["context"]

    def open(self, url: str) -> None:
        self._call("browsingContext.navigate", context=self._context, url=url, wait="complete")

    def back(self) -> None:
        self._call("browsingContext.traverseHistory", context=self._context, delta=-1)

    def run(self, script: str) -> Any:
        target = {"context": self._context}
        answer = self._call("script.evaluate", expression=script, target=target, awaitPromise=False)
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    def close(self) -> None:
        self._socket.close()

    def _call(self, method: str, **params: Any) -> Any:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == self._count:
                if answer["type"] == "error":
                    raise RuntimeError(answer["message"])
                return answer["result"]


class WebKit(Engine):
    """Debian's WebKitGTK, by its own driver."""

    def __init__(self, program: str, display: str) -> None:
        pytest.importorskip("selenium")
        from selenium import webdriver
        from selenium.webdriver.webkitgtk.options import Options
        from selenium.webdriver.webkitgtk.service import Service

        options = Options()
        options.binary_location = glob.glob("/usr/lib/*/webkit2gtk-4*/MiniBrowser")[0]
        options.add_argument("--automation")
        options.accept_insecure_certs = True
        sandbox = {"WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1"}  # as root it cannot have one
        service = Service(program, env={**os.environ, "DISPLAY": display, **sandbox})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Selenium's own, about itself
            self._driver: Any = webdriver.WebKitGTK(options=options, service=service)

    def open(self, url: str) -> None:
        self._driver.get(url)

    def back(self) -> None:
        self._driver.back()

    def run(self, script: str) -> Any:
        return self._driver.execute_script(f"return {script}")

    def close(self) -> None:
        self._driver.quit()


class Chromium(Engine):
    """Chromium, by Playwright."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def open(self, url: str) -> None:
        self._page.goto(url)

    def back(self) -> None:
        self._page.go_back()

    def run(self, script: str) -> Any:
        return self._page.evaluate(script)


@contextmanager
def firefox(program: str, folder: Path) -> Iterator[Firefox]:
    """Run Firefox with a profile of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [program, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", str(port)]
    with open(folder / "firefox.log", "w+") as log, ExitStack() as stack:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)})
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)
        pause = threading.Event()
        for _ in range(20 * PATIENCE):
            if "BiDi listening" in (folder / "firefox.log").read_text():
                break
            pause.wait(0.05)
        engine = Firefox(port)
        stack.callback(engine.close)
        yield engine


@contextmanager
def webkit(program: str) -> Iterator[WebKit]:
    """Run WebKit on a display of its own."""
    number = free_port() % 30000 + 100
    display = shutil.which("Xvfb")
    assert display, "Xvfb is not installed"
    with ExitStack() as stack:
        screen = [display, f":{number}", "-screen", "0", "1280x900x24", "-nolisten", "tcp"]
        process = subprocess.Popen(screen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)
        pause = threading.Event()
        for _ in range(20 * PATIENCE):
            if os.path.exists(f"/tmp/.X11-unix/X{number}"):  # noqa: S108  # where every X server has it
                break
            pause.wait(0.05)
        engine = WebKit(program, f":{number}")
        stack.callback(engine.close)
        yield engine


@contextmanager
def chromium(browser: Browser) -> Iterator[Chromium]:
    """Open a page of its own in a Chromium that runs."""
    with browser.new_context(ignore_https_errors=True) as context:
        yield Chromium(context.new_page())
