# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium without a window, driven by playwright-core (driver.mjs)."""

import contextlib
import json
import pathlib
import shutil
import subprocess
from typing import Any

from tests.harness.errors import Failure, Violation

HERE = pathlib.Path(__file__).resolve().parent
INSTALL_SECONDS = 300


def install(folder: pathlib.Path) -> pathlib.Path:
    """Installs the versions of package.json into the folder, and returns it."""
    shutil.copy(HERE / "package.json", folder)
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
    result = subprocess.run(command, cwd=folder, check=False, text=True, capture_output=True,
                            timeout=INSTALL_SECONDS)
    if result.returncode != 0:
        raise Failure(f"npm install of tests/page/package.json failed:\n{result.stderr[-2000:]}")
    return folder


class Page:
    """A page of a browser."""

    def __init__(self, browser: "Browser", name: str) -> None:
        self._browser = browser
        self._name = name

    def _ask(self, command: str, **options: Any) -> Any:
        return self._browser.ask(command, page=self._name, **options)

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self._ask("evaluate", script=script)

    def wait(self, script: str, what: str, seconds: int = 30) -> None:
        """Waits until the expression is true in the page."""
        try:
            self._ask("wait", script=script, seconds=seconds)
        except Violation as error:
            raise Violation(f"{self._name}: expected within {seconds} s: {what}; got: "
                            f"{str(error)[:200]}") from None

    def hover(self, selector: str, share: float) -> None:
        """Moves the mouse over the element, to this share of its width."""
        self._ask("hover", selector=selector, share=share)

    def drag(self, selector: str, start: float, end: float) -> None:
        """Drags the mouse over the element, between these shares of its width."""
        self._ask("drag", selector=selector, **{"from": start, "to": end})

    def double_click(self, selector: str) -> None:
        """Double-clicks an element."""
        self._ask("doubleClick", selector=selector)

    def press(self, key: str, selector: str | None = None) -> None:
        """Presses a key."""
        self._ask("press", key=key, selector=selector)

    def click(self, selector: str) -> None:
        """Clicks an element."""
        self._ask("click", selector=selector)

    def choose_files(self, selector: str, *paths: pathlib.Path) -> None:
        """Chooses files for an input."""
        self._ask("files", selector=selector, paths=[str(path) for path in paths])

    def screenshot(self, path: pathlib.Path, full: bool = False) -> None:
        """Writes a picture of the page."""
        self._ask("screenshot", path=str(path), full=full)

    def accessibility(self) -> list[str]:
        """What axe-core finds wrong."""
        found: list[str] = self._ask("axe")
        return found

    def close(self) -> None:
        """Closes the page."""
        self._ask("close")


class Browser(contextlib.ExitStack):
    """A browser with a profile of its own. A context, which ends it."""

    def __init__(self, modules: pathlib.Path, profile: pathlib.Path) -> None:
        super().__init__()
        chromium = shutil.which("chromium")
        if chromium is None:
            raise Failure("no chromium: deploy/install-packages page installs it")
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "node", HERE / "driver.mjs", modules, chromium, profile],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.callback(self._end)

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def ask(self, command: str, **options: Any) -> Any:
        """Sends a command and returns its value."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"command": command, **options}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Failure(f"the browser has ended during {command}")
        answer = json.loads(line)
        if "error" in answer:
            raise Violation(f"{command}: {answer['error']}")
        return answer["value"]

    def open(self, name: str, url: str, width: int = 1280, height: int = 900,
             scheme: str = "light") -> Page:
        """Opens a page in a window of this size."""
        self.ask("open", page=name, url=url, width=width, height=height, scheme=scheme)
        return Page(self, name)

    def errors(self) -> list[str]:
        """What the pages wrote to the console as errors or warnings since the last call."""
        found: list[str] = self.ask("errors")
        return list(dict.fromkeys(found))
