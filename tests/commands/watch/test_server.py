"""The live page over HTTP: what is served, to whom, and when the page is made anew."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from support.studies import write_manifest
from support.whole_runs import write_metrics, write_run_under_way, write_whole_run

from medssr.commands.watch import command
from medssr.commands.watch.live_page import LivePage
from medssr.commands.watch.server import PageServer
from medssr.errors import InputError

pytestmark = pytest.mark.slow


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(tmp_path, clock) -> Iterator[PageServer]:
    (tmp_path / "logs").mkdir()
    with PageServer(LivePage(tmp_path / "logs", clock), 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def get(server: PageServer, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=120)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content.decode("utf-8", errors="replace")


def test_the_page_follows_the_runs(server, tmp_path, clock):
    status, page = get(server, "/")
    assert status == 200
    assert "No run has begun" in page
    before = json.loads(get(server, "/state")[1])["version"]
    write_run_under_way(tmp_path, "one")
    clock.now += 100
    state = json.loads(get(server, "/state")[1])
    assert state["version"] == before + 1
    assert "5 of 20 steps (25%)" in state["progress"]
    write_metrics(tmp_path, "one", 3)
    clock.now += 100
    page = get(server, "/")[1]
    assert "Training curves" in page
    assert 'id="accuracy"' not in page
    assert get(server, "/training_0_first.png")[0] == 200
    write_whole_run(tmp_path, name="whole")
    clock.now += 100
    page = get(server, "/")[1]
    assert "1 running, 1 finished of 2 runs begun so far" in page
    assert 'id="accuracy"' in page
    assert "Folder of the run: <a" not in page


def test_nothing_is_made_anew_where_no_file_has_changed(server, tmp_path, clock, monkeypatch):
    folder = write_run_under_way(tmp_path, "one")
    get(server, "/")
    version = json.loads(get(server, "/state")[1])["version"]
    monkeypatch.setattr("medssr.commands.watch.live_page.compare_groups", lambda runs: pytest.fail("made anew"))
    clock.now += 100
    assert json.loads(get(server, "/state")[1])["version"] == version
    with (folder / "pipeline.log").open("a") as log:  # its progress is shown without a new page
        log.write("2026-11-30 13:39:42 [4/7] first: 10 of 20 steps (50%), 2.24 steps/s\n")
    clock.now += 100
    state = json.loads(get(server, "/state")[1])
    assert state["version"] == version
    assert "10 of 20 steps" in state["progress"]


def test_a_file_that_is_broken_is_named_and_the_others_are_shown(server, tmp_path, clock):
    write_whole_run(tmp_path, name="whole")
    write_run_under_way(tmp_path, "one")
    write_metrics(tmp_path, "one", 2)
    (tmp_path / "artifacts" / "train" / "one-first" / "metrics.csv").write_text("step,train/reward\n0,much\n")
    (tmp_path / "logs" / "new" / ".hydra").mkdir(parents=True)  # Hydra writes the configuration a moment later
    labels = tmp_path / "artifacts" / "pseudo_label" / "older"
    write_manifest(labels, "pseudo_label", 1, counts={"of another version": 1})
    with (write_run_under_way(tmp_path, "old") / "pipeline.log").open("a") as log:
        log.write(f"pseudo_label: already made, {labels}\n")
    page = get(server, "/")[1]
    assert "expected a number" in page
    assert "No such file" in page
    assert "num_kept" in page
    assert 'id="accuracy"' in page


def test_nothing_outside_the_page_is_served_and_to_no_other_name(server, tmp_path):
    (tmp_path / "logs" / "secret.txt").write_text("secret")
    for path in ("/secret.txt", "/../logs/secret.txt", "/%2e%2e/logs/secret.txt", "//etc/passwd", "/etc/passwd", "/."):
        assert get(server, path)[0] == 404
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", ""):
        assert get(server, "/", host)[0] == 421
    for host in ("localhost:9000", "127.0.0.1", "[::1]:8000"):
        assert get(server, "/", host)[0] == 200
    assert server.server_address[0] == "127.0.0.1"


def test_a_browser_may_run_the_script_of_the_page_alone(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=120)
    connection.request("GET", "/")
    policy = connection.getresponse().getheader("Content-Security-Policy") or ""
    connection.close()
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]


def test_a_port_in_use_and_a_folder_that_is_not_there_are_faults_of_one_line(server, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "nice", lambda by: 0)
    with pytest.raises(InputError, match=r"^--port: \d+ cannot be used \(Address already in use\); --port 0 takes"):
        command.watch(tmp_path, server.server_address[1])
    with pytest.raises(InputError, match=r"there is no such folder"):
        command._main([str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match=r"^--port: found 70000"):
        command._main([str(tmp_path), "--port", "70000"])


def test_ctrl_c_ends_it_as_it_ends_other_commands(tmp_path):
    arguments = [sys.executable, "-m", "medssr.commands.watch.command", str(tmp_path)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert process.communicate()[1] == "ended by SIGINT\n"
