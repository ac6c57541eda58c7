"""The engine with two real vLLM servers on this machine: agreement, faults, one that hangs and one that is killed."""

from __future__ import annotations

import http.server
import importlib.util
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.helpers import expected_completion, typed
from support.vllm_servers import Server, free_port, running_servers
from support.vllm_stand_in import StandIn, running

from medssr.commands.pseudo_label import pseudo_label
from medssr.config import LoRAConfig
from medssr.engines.likelihood import continuation_logps
from medssr.engines.sampled_answers import AnswerSampler
from medssr.engines.streaming import Request, in_order
from medssr.engines.types import Completion, Sampling
from medssr.engines.vllm_server import VLLMServer
from medssr.engines.vllm_server_engine import VLLMServerEngine
from medssr.errors import InputError
from medssr.models.batching import pad_rollouts
from medssr.models.logprobs import completion_logps
from medssr.models.lora import add_adapters, save_adapters
from medssr.models.policy import Policy, load_policy
from medssr.questions import read_questions, write_questions
from medssr.utils.seeding import derive_seed

NEEDS_VLLM = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: make test-vllm"),
]
SEEDS = [[derive_seed(prompt, sample) for sample in range(4)] for prompt in range(12)]
SAMPLING = Sampling(temperature=0.7, max_new_tokens=24)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with running_servers(tmp_path_factory.mktemp("servers"), typed("pipeline").model.path, 2) as started:
        yield started


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of two servers that take adapters."""
    folder, model = tmp_path_factory.mktemp("servers"), typed("pipeline").model.path
    with running_servers(folder, model, 2, ["--enable-lora", "--max-lora-rank", "8"]) as started:
        yield [server.address for server in started]


@pytest.fixture
def tiny() -> Policy:
    return load_policy(typed("pipeline").model)


@pytest.fixture
def adapted(tiny) -> Policy:
    add_adapters(tiny.model, LoRAConfig(rank=4, alpha=8, target_modules=None), seed=0)
    return tiny


@pytest.fixture
def make(tiny, tmp_path_factory) -> Iterator[Callable[..., VLLMServerEngine]]:
    """Makes engines for the tiny policy, which give the servers its weights."""
    with ExitStack() as opened:

        def make_engine(addresses: list[str], **settings: Any) -> VLLMServerEngine:
            defaults = {"model": None, "max_concurrency": 4, "timeout_s": 60, "max_logp_gap": 0.5, "overlap": None}
            defaults["weights_dir"] = str(tmp_path_factory.mktemp("weights"))
            return opened.enter_context(closing(VLLMServerEngine(tiny, addresses, **(defaults | settings))))

        yield make_engine


@pytest.fixture
def prompts(tiny) -> list[list[int]]:
    questions = list(read_questions(typed("pipeline").seed_questions.path))[:12]
    return tiny.encode(questions, SAMPLING.max_new_tokens, "seeds")


def token_ids(groups: list[list[Completion]]) -> list[list[list[int]]]:
    return [[item.token_ids for item in group] for group in groups]


def flat(prompts: list[list[int]], groups: list[list[Completion]]) -> tuple[list[list[int]], list[Completion]]:
    pairs = [(prompt, item) for prompt, group in zip(prompts, groups, strict=True) for item in group]
    return [prompt for prompt, _ in pairs], [item for _, item in pairs]


def batch_of(policy: Policy, prompts: list[list[int]], groups: list[list[Completion]]) -> Any:
    rows, completions = flat(prompts, groups)
    return pad_rollouts(
        rows, [item.token_ids for item in completions], policy.tokenizer.pad_token_id, torch.device("cpu")
    )


def largest_gap(policy: Policy, prompts: list[list[int]], groups: list[list[Completion]]) -> float:
    with torch.no_grad():
        logps = completion_logps(policy.model, batch_of(policy, prompts, groups), SAMPLING.temperature)
    return max(
        (row[: len(item.logps)] - torch.tensor(item.logps)).abs().max().item()
        for row, item in zip(logps, flat(prompts, groups)[1], strict=True)
    )


def train(policy: Policy, prompts: list[list[int]], groups: list[list[Completion]]) -> None:
    optimizer = torch.optim.AdamW([weight for weight in policy.model.parameters() if weight.requires_grad], lr=1e-2)
    batch = batch_of(policy, prompts, groups)
    for _ in range(3):
        optimizer.zero_grad()
        (completion_logps(policy.model, batch, 1.0) * batch.completion_mask).mean().backward()
        optimizer.step()


def test_without_addresses_the_message_shows_one(make):
    with pytest.raises(InputError, match=r"rollout.addresses: is empty.*http://"):
        make([])


def test_servers_that_keep_their_weights_have_to_serve_adapters_by_name(make, tiny):
    add_adapters(tiny.model, LoRAConfig(rank=4, alpha=8, target_modules=None), seed=0)
    engine = make([f"http://127.0.0.1:{free_port()}"], weights_dir=None)
    with pytest.raises(InputError, match=r"rollout\.model: null, .*--enable-lora --lora-modules NAME=FOLDER"):
        engine.generate([[5]], [[1]], SAMPLING)


def test_a_server_that_is_not_there_is_named_with_what_to_do(make):
    with pytest.raises(InputError, match=r"no server is left \(http://127.0.0.1:\d+: it cannot be reached.*vllm serve"):
        make([f"http://127.0.0.1:{free_port()}"]).generate([[5]], [[1]], SAMPLING)


@pytest.mark.slow
def test_another_kind_of_server_is_refused(make):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        with pytest.raises(InputError, match=r"is no vLLM server: it answers /version with 404"):
            make([f"http://127.0.0.1:{other.server_port}"]).generate([[5]], [[1]], SAMPLING)
        other.shutdown()


@pytest.fixture
def stand_in() -> Iterator[Callable[..., str]]:
    """Starts stand-ins with the given attributes, and returns their addresses."""
    with ExitStack() as opened:
        yield lambda **attributes: opened.enter_context(running(StandIn(**attributes))).address


def test_an_older_server_is_refused(make, stand_in):
    with pytest.raises(InputError, match=r"runs vLLM 0.31.2; 0.32 or newer is needed: pip install 'vllm>=0.32' there"):
        make([stand_in(version="0.31.2")]).generate([[5]], [[1]], SAMPLING)


def test_a_server_that_takes_no_weights_is_named_with_what_to_do(make, stand_in):
    with pytest.raises(InputError, match=r"takes no new weights .*it has no /server_info.*VLLM_SERVER_DEV_MODE=1"):
        make([stand_in(routes=("/version", "/v1/models"))]).generate([[5]], [[1]], SAMPLING)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hanging", "part"),
    [("/pause", "pausing"), ("/collective_rpc", "reading the new weights"), ("/resume", "resuming")],
)
def test_what_hangs_in_a_change_of_weights_is_named(make, stand_in, hanging, part):
    address = stand_in(hanging=hanging)
    with pytest.raises(InputError, match=rf"no server is left \({address}: {part}.* was not done within 0.2 s"):
        make([address], timeout_s=0.2).generate([[5]], [[1]], SAMPLING)


def test_an_address_without_its_scheme_is_refused(make):
    with pytest.raises(InputError, match=r"rollout.addresses: localhost:8000; an address begins with http://"):
        make(["localhost:8000"])


def test_training_needs_a_place_for_weights(make, tiny, stand_in):
    with pytest.raises(InputError, match=r"rollout.weights_dir: is needed for training"):
        make([stand_in()], weights_dir=None).sync_weights(tiny.model)


class TestServers:
    pytestmark = NEEDS_VLLM

    def test_a_model_of_another_name_is_refused(self, make, servers, prompts):
        with pytest.raises(InputError, match=r"rollout.model: http://127.0.0.1:\d+ serves tiny, not large"):
            make([servers[0].address], model="large").generate(prompts, SEEDS, SAMPLING)

    def test_servers_agree_with_the_trainer_before_and_after_updates(self, make, tiny, servers, prompts):
        engine = make([server.address for server in servers])
        groups = engine.generate(prompts, SEEDS, SAMPLING)
        assert largest_gap(tiny, prompts, groups) < 1e-4
        for _ in range(2):
            train(tiny, prompts, groups)
            assert largest_gap(tiny, prompts, groups) > 0.5
            engine.sync_weights(tiny.model)
            groups = engine.generate(prompts, SEEDS, SAMPLING)
            assert largest_gap(tiny, prompts, groups) < 1e-4

    def test_a_server_with_other_weights_is_refused(self, make, tiny, servers, prompts):
        make([servers[0].address]).generate(prompts[:1], SEEDS[:1], SAMPLING)
        with torch.no_grad():
            for parameter in tiny.model.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0))
        engine = make([servers[0].address], weights_dir=None)
        with pytest.raises(InputError, match=r"differ from the policy's by .* other weights: serve the folder"):
            engine.generate(prompts, SEEDS, SAMPLING)

    def test_neither_order_nor_number_of_servers_changes_a_completion(self, make, servers, prompts):
        expected = token_ids(make([servers[0].address]).generate(prompts, SEEDS, SAMPLING))
        both = make([server.address for server in servers])
        assert token_ids(both.generate(prompts, SEEDS, SAMPLING)) == expected
        order = list(reversed(range(12)))
        shuffled = both.generate([prompts[i] for i in order], [SEEDS[i] for i in order], SAMPLING)
        assert token_ids(shuffled) == [expected[i] for i in order]

    def test_files_of_answers_from_two_are_byte_for_byte_those_from_one(self, make, tiny, servers, tmp_path):
        questions = list(read_questions(typed("pipeline").seed_questions.path))[:24]
        sampling = Sampling(1.0, 16, has_logps=False)
        files = {}
        for number in (1, 2):
            engine = make([server.address for server in servers[:number]])
            sampler = AnswerSampler(tiny, engine, sampling, 3, 42, "votes", 5)
            assert len(list(sampler.sample(questions, tmp_path / str(number), "seeds"))) == 24
            files[number] = {file.name: file.read_bytes() for file in (tmp_path / str(number)).iterdir()}
        assert len(files[1]) == 5
        assert files[1] == files[2]

    def test_tokens_are_scored_as_by_the_policy(self, make, tiny, servers, prompts):
        engine = make([server.address for server in servers])
        requests = [Request(index, prompt, [], (3, 17, 64)) for index, prompt in enumerate(prompts)]
        answers = in_order(engine.stream([requests], SAMPLING), len(prompts))
        expected = continuation_logps(tiny, prompts, [[[3], [17], [64]]] * len(prompts))
        assert [item.token_ids for (item,) in answers] == [[3, 17, 64]] * len(prompts)
        for (item,), logps in zip(answers, expected, strict=True):
            assert item.logps == pytest.approx(logps, abs=1e-4)

    def test_stop_strings_end_completions_as_with_transformers(self, make, tiny, servers, prompts):
        engine = make([servers[0].address])
        whole = flat(prompts, engine.generate(prompts, SEEDS, SAMPLING))[1]
        stop = tuple(sorted({pair for item in whole for pair in re.findall(r"[ -~]{3}", item.text)})[::25])
        stopped = flat(prompts, engine.generate(prompts, SEEDS, replace(SAMPLING, stop=stop)))[1]
        for item, before in zip(stopped, whole, strict=True):
            expected = expected_completion(before, tiny, stop)
            assert (item.token_ids, item.text, item.is_truncated) == (
                expected.token_ids,
                expected.text,
                expected.is_truncated,
            )
            assert item.logps == pytest.approx(expected.logps, abs=1e-4)
        assert sum(len(item.token_ids) for item in stopped) < sum(len(item.token_ids) for item in whole)

    def test_a_server_that_hangs_is_left_out_until_it_answers(self, make, servers, prompts, caplog):
        engine = make([server.address for server in servers], timeout_s=20)
        expected = token_ids(engine.generate(prompts, SEEDS, SAMPLING))
        servers[1].signal(signal.SIGSTOP)
        try:
            with caplog.at_level(logging.WARNING):
                assert token_ids(engine.generate(prompts, SEEDS, SAMPLING)) == expected
            assert f"lost the server {servers[1].address}: /v1/completions was not done within 20 s" in caplog.text
        finally:
            servers[1].signal(signal.SIGCONT)
        caplog.clear()
        assert token_ids(engine.generate(prompts, SEEDS, SAMPLING)) == expected
        assert "lost" not in caplog.text

    def test_one_of_two_is_killed_and_every_question_is_answered_once(self, servers, tmp_path):
        """The last test, because the server is not restarted."""
        write_questions(tmp_path / "questions.jsonl", list(read_questions(typed("pipeline").seed_questions.path))[:96])
        settings = [
            f"data.path={tmp_path}/questions.jsonl",
            "rollout=vllm_server",
            f"rollout.weights_dir={tmp_path}/weights",
            "rollout.max_concurrency=4",
            "labeling.questions_per_chunk=24",
            "labeling.min_agreement=0",
            "extras.progress_bar=false",
        ]
        one, two = servers
        undisturbed = pseudo_label(
            typed("pseudo_label", *settings, f"rollout.addresses=[{one.address}]", f"paths.root_dir={tmp_path}/one")
        )
        command = [sys.executable, "-m", "medssr.commands.pseudo_label", *settings]
        process = subprocess.Popen(
            [*command, f"rollout.addresses=[{one.address},{two.address}]", "hydra.verbose=[medssr.engines]"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"MEDSSR_ROOT": str(tmp_path / "two"), "OMP_NUM_THREADS": "1"},
        )
        log = ""
        for line in process.stderr:
            log += line
            if "chunk 1 of 4" in line:
                two.signal(signal.SIGKILL)
        assert process.wait() == 0, log
        assert f"lost the server {two.address}" in log
        (votes,) = (tmp_path / "two").glob("artifacts/pseudo_label/*/votes.jsonl")
        lines = votes.read_text(encoding="utf-8").splitlines()
        assert [json.loads(line)["question_id"] for line in lines] == [
            question.id for question in read_questions(tmp_path / "questions.jsonl")
        ]
        assert votes.read_bytes() == undisturbed.path("votes.jsonl").read_bytes()


class TestAdapters:
    pytestmark = NEEDS_VLLM

    def test_they_follow_the_adapters_that_are_trained(self, make, served, adapted, prompts):
        engine = make(served)
        assert engine.sync_weights(adapted.model) < 1e-4
        for _ in range(2):
            groups = engine.generate(prompts, SEEDS, SAMPLING)
            assert largest_gap(adapted, prompts, groups) < 1e-4
            train(adapted, prompts, groups)
            assert largest_gap(adapted, prompts, groups) > 0.1
            assert engine.sync_weights(adapted.model) < 1e-4  # the largest of both servers
        assert largest_gap(adapted, prompts, engine.generate(prompts, SEEDS, SAMPLING)) < 1e-4
        assert [adapters_of(address) for address in served] == [[engine._version]] * 2

    def test_one_that_lost_them_is_not_asked_until_it_has_those_of_the_next_step(
        self, make, served, adapted, prompts, caplog
    ):
        engine = make(served)
        engine.sync_weights(adapted.model)
        expected = token_ids(engine.generate(prompts, SEEDS, SAMPLING))
        VLLMServer(served[0], None, 60).unload_adapters(engine._version)
        with caplog.at_level(logging.WARNING):
            groups = engine.generate(prompts, SEEDS, SAMPLING)
        assert token_ids(groups) == expected
        assert f"lost the server {served[0]}: it does not have the adapters" in caplog.text
        train(adapted, prompts, groups)
        assert engine.sync_weights(adapted.model) < 1e-4
        assert [server.address for server in engine._pool.ready] == served

    def test_votes_and_evaluation_get_them_without_a_training(self, make, served, adapted, prompts):
        move(adapted)
        groups = make(served).generate(prompts, SEEDS, SAMPLING)
        assert largest_gap(adapted, prompts, groups) < 1e-4

    def test_a_server_that_serves_them_itself_is_asked_by_name(self, make, served, adapted, prompts, tmp_path):
        move(adapted)
        save_adapters(adapted.model, tmp_path)
        VLLMServer(served[0], None, 60).load_adapters("trained", tmp_path)
        groups = make(served[:1], model="trained", weights_dir=None).generate(prompts, SEEDS, SAMPLING)
        assert largest_gap(adapted, prompts, groups) < 1e-4
        VLLMServer(served[0], None, 60).unload_adapters("trained")

    def test_what_a_server_cannot_take_is_named(self, make, served, tiny, tmp_path):
        server = VLLMServer(served[0], None, 60)
        with pytest.raises(InputError, match=r"rollout\.weights_dir: .* does not find the adapters in .*/absent"):
            server.load_adapters("absent", tmp_path / "absent")

        add_adapters(tiny.model, LoRAConfig(rank=9, alpha=8, target_modules=None), seed=0)
        with pytest.raises(InputError, match=r"takes adapters up to rank 8 .* rank 9.* --max-lora-rank 16"):
            make(served).sync_weights(tiny.model)

    def test_layers_that_vllm_cannot_adapt_are_named(self, served, adapted, tmp_path):
        save_adapters(adapted.model, tmp_path)
        file = tmp_path / "adapter_model.safetensors"
        save_file({name.replace("q_proj", "my_proj"): weight for name, weight in load_file(file).items()}, file)
        with pytest.raises(InputError, match=r"lora\.target_modules: .* does not take these adapters: .*rollout=hf"):
            VLLMServer(served[0], None, 60).load_adapters("mine", tmp_path)
        assert "mine" not in adapters_of(served[0])


def adapters_of(address: str) -> list[str]:
    return VLLMServer(address, None, 60).adapters()


def move(policy: Policy) -> None:
    """Gives adapters weights that change what the policy samples."""
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:  # zero at the start
                weight.normal_(std=0.5, generator=torch.Generator().manual_seed(0))


class TestBroadcast:
    pytestmark = NEEDS_VLLM

    def test_servers_on_cpus_receive_weights_without_a_file(self, make, tiny, prompts, tmp_path, monkeypatch):
        monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
        extension = "medssr.engines.gloo_extension.GlooExtension"
        options = ["--weight-transfer-config", '{"backend": "gloo"}', "--worker-extension-cls", extension]
        with running_servers(tmp_path, typed("pipeline").model.path, 2, options) as servers:
            engine = make([server.address for server in servers], weights_dir=None)
            engine.sync_weights(tiny.model)
            groups = engine.generate(prompts, SEEDS, SAMPLING)
            train(tiny, prompts, groups)
            assert largest_gap(tiny, prompts, groups) > 0.5
            engine.sync_weights(tiny.model)
            assert largest_gap(tiny, prompts, engine.generate(prompts, SEEDS, SAMPLING)) < 1e-4
