"""The live page in a real browser: it follows its runs, and keeps what its reader has done."""

from __future__ import annotations

import threading

import pytest
from support.browser import browser
from support.whole_runs import write_metrics, write_run_under_way, write_whole_run

from medssr.commands.watch.live_page import LivePage
from medssr.commands.watch.server import PageServer

pytestmark = pytest.mark.slow

SEARCH = "document.querySelector('[data-list=drafts] input')"
DRAFT = "document.querySelector('#drafts details[data-key=q1]')"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_reader_keeps_search_open_sections_sorting_and_place_when_runs_go_on(tmp_path):
    for name in ("whole", "second"):
        write_whole_run(tmp_path, name=name)
    clock = Clock()
    with (
        browser(tmp_path / "browser") as page,
        PageServer(LivePage(tmp_path / "logs", clock), 0) as server,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page.open(server.address)
        page.ask("ask()")
        assert page.ask("document.title") == "medssr watch: 2 runs"
        page.ask(f"{SEARCH}.focus()")
        page.write("q")
        page.ask(f"{DRAFT}.open = true")
        page.ask("document.querySelector('#runs ~ details th button').click()")
        page.ask(f"{DRAFT}.scrollIntoView()")
        top = page.ask(f"{DRAFT}.getBoundingClientRect().top")

        write_run_under_way(tmp_path, "third", ["base"])
        write_metrics(tmp_path, "third", 4)
        clock.now += 100
        page.ask("ask()")
        assert page.ask("document.title") == "medssr watch: 3 runs"
        assert "5 of 20 steps" in page.ask("document.getElementById('progress').textContent")
        assert page.ask(f"{SEARCH}.value") == "q"
        assert page.ask(f"document.activeElement === {SEARCH}")
        assert page.ask(f"{DRAFT}.open")
        assert (
            page.ask("document.querySelector('#runs ~ details th[aria-sort]').getAttribute('aria-sort')") == "ascending"
        )
        assert abs(page.ask(f"{DRAFT}.getBoundingClientRect().top") - top) < 2
        assert page.ask("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        assert page.faults == []

        server.shutdown()
        server.server_close()
        page.ask("ask()")
        assert not page.ask("document.getElementById('connection').hidden")
