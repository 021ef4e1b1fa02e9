"""Pages of hostile run folders in a real browser, which a server of its own watches."""

import contextlib
import http.server
import pathlib
import re
import subprocess
import threading
import time
from unittest import mock

from browser import BROWSERS, executable
from hostile_pages import Injection, injections, write_folder
from report_pages import check_harmless, parse
from runs import Case, Skipped, sample

from dgm_jax.report import render, write_report

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --virtual-time-budget=2000"
).split()


class Server:
    """Serves pages at 127.0.0.1 and remembers who asked for anything else."""

    def __init__(self):
        self.pages: dict[str, bytes] = {}
        self.asked: list[str] = []
        handler = type("Handler", (_Handler,), {"watched": self})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    watched: Server

    def do_GET(self):
        page = self.watched.pages.get(self.path)
        if page is None and self.path != "/favicon.ico":
            self.watched.asked.append(self.path)
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page or b"")

    def log_message(self, *_):
        pass


def browser() -> str:
    """The browser's path.

    Raises:
        Skipped: there is none.
    """
    path = executable()
    if path is None:
        raise Skipped(f"no browser: none of {', '.join(BROWSERS)} is installed")
    return path


def opened(server: Server, page: bytes, profile: pathlib.Path) -> str:
    """What a page did in the browser: "" where it did nothing, or a sentence."""
    server.pages, server.asked = {"/page": page}, []
    done = subprocess.run(
        [browser(), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", f"{server.address}/page"],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
    )
    time.sleep(0.05)  # for a request that is on its way
    if "<html" not in done.stdout:
        raise RuntimeError(f"the browser shows no page: {done.stderr[-500:]}")
    if 'data-ran="1"' in done.stdout:
        return "a script ran"
    if server.asked:
        return f"a request left: {server.asked[:3]}"
    return "" if "</footer>" in done.stdout else "the page is cut short"


def weakened(root: pathlib.Path) -> bytes:
    """The report of a folder without escaping and without a policy."""
    whole = render.engine
    with mock.patch.object(render, "engine", lambda: whole(escape=False)):
        text = write_report(root).read_text("utf-8", "surrogatepass")
    return re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text).encode()


def trial(count, rng, room):
    """Opens the report of each injection; then, once for each kind of active payload, the same
    folder's page without escaping, which must be noticed, or the harness sees nothing."""
    browser()
    profile = room.fresh("profile")
    chosen = sample(injections(), count, rng)
    with contextlib.closing(Server()) as server:
        proven = set()
        for injection in chosen:
            root = room.fresh("hostile")
            write_folder(root, injection, f"{server.address}/beacon")
            yield Case(f"{injection.name} in {injection.place}", _escaped(server, root, profile))
            if injection.acts and injection.name not in proven:
                proven.add(injection.name)
                yield Case(
                    f"noticed without escaping: {injection.name} in {injection.place}",
                    _noticed(server, root, profile, injection),
                    0,
                )


def _escaped(server: Server, root: pathlib.Path, profile: pathlib.Path) -> str | None:
    try:
        page = write_report(root)
        check_harmless(parse(page))
        return opened(server, page.read_bytes(), profile) or None
    except Exception as error:  # whatever it is, the report has failed
        return f"{type(error).__name__}: {error}"


def _noticed(server, root, profile, injection: Injection) -> str | None:
    did = opened(server, weakened(root), profile)
    ok = did.startswith(("a script", "a request"))
    return None if ok else f"{injection.payload!r} does nothing where it should: {did!r}"
