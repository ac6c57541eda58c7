from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from medssr.commands.doctor.findings import State
from medssr.commands.doctor.services import check_files, check_hub, check_keys, check_servers, check_vllm, check_wandb

ONLINE = {"offline": False}


@pytest.fixture(autouse=True)
def bare_environment(tmp_path, monkeypatch):
    """Removes keys, the cache and the home folder."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "NETRC", "HF_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    # What the library reads from the environment when it is loaded.
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_wandb_needs_a_key_only_online(tmp_path, monkeypatch):
    assert check_wandb(None).state is check_wandb({"offline": True}).state is State.fine
    result = check_wandb(ONLINE)
    assert result.state is State.lacking
    assert "wandb login" in result.remedy
    (tmp_path / ".netrc").write_text("machine api.wandb.ai\n  login user\n  password secret\n")
    result = check_wandb(ONLINE)
    assert result.state is State.fine
    assert "secret" not in result.observation
    (tmp_path / ".netrc").write_text("machine\n")
    assert check_wandb(ONLINE).state is State.lacking
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert check_wandb(ONLINE).state is State.fine
    monkeypatch.delenv("WANDB_API_KEY")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert check_wandb(ONLINE).state is State.fine


class Hub(BaseHTTPRequestHandler):
    """Serves an open model and one that requires a token."""

    def do_HEAD(self) -> None:
        has_token = self.headers.get("Authorization") == "Bearer good"
        codes = {"/open/model/resolve/main/config.json": 200, "/gated/model/resolve/v1/config.json": 401}
        code = codes.get(self.path, 404)
        self.send_response(200 if code == 401 and has_token else code)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.usefixtures("hub")
def test_the_hub_is_asked_for_the_model(tmp_path, monkeypatch):
    assert check_hub("open/model", None).state is State.fine
    absent = check_hub("nobody/nothing", None)
    assert (absent.state, "model.path" in absent.remedy) == (State.lacking, True)
    gated = check_hub("gated/model", "v1")
    assert (gated.state, "HF_TOKEN" in gated.remedy) == (State.lacking, True)
    assert "no token" in gated.observation
    monkeypatch.setenv("HF_TOKEN", "bad")
    assert "the token has no access" in check_hub("gated/model", "v1").observation
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "token").write_text("good\n")
    assert check_hub("gated/model", "v1").state is State.fine


def test_a_hub_that_cannot_be_reached(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    result = check_hub("open/model", None)
    assert result.state is State.lacking
    assert "cannot be reached" in result.observation
    assert "model=local" in result.remedy


def test_what_is_here_needs_no_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert check_hub(str(tmp_path), None).state is State.fine
    result = check_hub("open/model", None)
    assert (result.state, "HF_HUB_OFFLINE" in result.observation) == (State.lacking, True)
    cache = tmp_path / "hub" / "models--open--model"
    (cache / "snapshots" / "abc").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("abc")
    assert check_hub("open/model", None).state is State.lacking  # begun
    (cache / "snapshots" / "abc" / "config.json").write_text("{}")
    assert check_hub("open/model", None).state is check_hub("open/model", "abc").state is State.fine
    assert check_hub("open/model", "v2").state is State.lacking


def test_what_is_no_name_is_not_asked_for():
    result = check_hub("artifacts/train/0/model", None)
    assert (result.state, "neither a folder nor a name" in result.observation) == (State.lacking, True)


def test_vllm():
    assert check_vllm(False).state is State.fine
    try:
        import vllm  # noqa: F401
    except ImportError:
        result = check_vllm(True)
        assert (result.state, "rollout=hf" in result.remedy) == (State.lacking, True)
    else:
        assert check_vllm(True).state is State.fine


@pytest.mark.slow
@pytest.mark.usefixtures("hub")
def test_servers():
    address = constants.ENDPOINT
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        states = [result.state for result in check_servers([address, f"http://127.0.0.1:{free.getsockname()[1]}"])]
    assert states == [State.fine, State.lacking]
    (result,) = check_servers([f"{address}/elsewhere"])
    assert "answers with status 404" in result.observation


def test_keys_of_chat_services(monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    config = {"generator": {"api_key_env": "SOME_KEY", "model": "m"}, "judge": {"api_key_env": None}, "seed": 1}
    (result,) = check_keys(config)
    assert (result.state, "SOME_KEY" in result.observation) == (State.lacking, True)
    monkeypatch.setenv("SOME_KEY", "secret")
    (result,) = check_keys(config)
    assert result.state is State.fine
    assert "secret" not in result.observation


def test_files(tmp_path):
    (tmp_path / "there.jsonl").touch()
    config = {
        "data": {"path": "nowhere.jsonl"},
        "seeds": {"path": str(tmp_path / "there.jsonl")},
        "corpus": {"path": "somebody/dataset"},
        "model": {"path": "Qwen/Qwen3-8B-Base", "prompt_path": str(tmp_path / "gone.txt")},
        "probe": {"path": None},
    }
    results = list(check_files(config))
    assert [result.observation.split(":")[0] for result in results] == ["data.path", "model.prompt_path"]
