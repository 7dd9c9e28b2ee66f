"""Lighthouse on pages of somebody who is signed in, for `bench.screens`.

It gets a browser in which the person is signed in already: headers of its own would not reach the WebSocket, whose
refusal would then be an error in the console that no reader has.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator

from playwright.sync_api import Playwright

from tests.fixtures.browsers import chromium
from tests.fixtures.processes import DEMO_PASSWORD, Site


def command() -> list[str] | None:
    """The command that starts Lighthouse here; None where there is none."""
    if found := shutil.which("lighthouse"):
        return [found]
    npx = shutil.which("npx")
    asked = [npx, "--no-install", "lighthouse"] if npx else []
    there = asked and subprocess.run([*asked, "--version"], capture_output=True, check=False).returncode == 0
    return asked if there else None


@contextlib.contextmanager
def signed_in(playwright: Playwright, site: Site) -> Iterator[int]:
    """A browser in which rita is signed in; the port on which it is steered."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    with tempfile.TemporaryDirectory() as profile:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium(),
            args=["--no-sandbox", "--disable-dev-shm-usage", f"--remote-debugging-port={port}"],
        )
        page = context.new_page()
        page.goto(f"{site.url}/sign-in/")
        page.fill("#id_username", "rita")
        page.fill("#id_password", DEMO_PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_url("**/queue/**")
        page.goto("about:blank")
        yield port
        context.close()


def scores(command: list[str], address: str, port: int) -> dict[str, int]:
    """Lighthouse's scores of one page, 0 to 100, by category; empty where it failed, and then it says so."""
    asked = [*command, address, "--quiet", "--output=json", "--preset=desktop", f"--port={port}"]
    environment = {**os.environ, "CHROME_PATH": chromium() or ""}
    done = subprocess.run(
        [*asked, "--disable-storage-reset"], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode != 0:
        print(f"Lighthouse failed: {done.stderr.splitlines()[-1:]}")
        return {}
    told = json.loads(done.stdout)
    missed = [f"{name} ({audit['title']})" for name, audit in told["audits"].items() if audit.get("score") == 0]
    print(f"  {address}: audits at zero: {', '.join(missed) or 'none'}")
    return {
        name: round(found["score"] * 100) for name, found in told["categories"].items() if found["score"] is not None
    }
