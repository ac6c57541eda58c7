"""Adapters on servers, with HTTP servers in place of vLLM's that read what they are given."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.vllm_stand_in import CHANGES, StandIn

from medssr.config import LoRAConfig
from medssr.engines.types import Sampling
from medssr.errors import InputError
from medssr.models.lora import adapter_weights, add_adapters, base_weights
from medssr.models.policy import Policy

SAMPLING = Sampling(temperature=1.0, max_new_tokens=8)
PROMPTS = [[5, index] for index in range(8)]
SEEDS = [[index] for index in range(8)]
BASE = ["/collective_rpc"]
PROOF = ["/reset_prefix_cache", "/update_weight_version"]


@pytest.fixture
def adapted(policy) -> Policy:
    add_adapters(policy.model, LoRAConfig(rank=4, alpha=8, target_modules=None), seed=0)
    move(policy)
    return policy


@pytest.fixture
def servers(stand_ins) -> list[StandIn]:
    """Two that take adapters up to rank 8."""
    return stand_ins(2, max_lora_rank=8)


@pytest.fixture
def engine(make_engine, servers, adapted, tmp_path):
    return make_engine(servers, f"rollout.weights_dir={tmp_path}/weights")


def move(policy: Policy) -> None:
    """Changes the adapters as a step of training does."""
    with torch.no_grad():
        for weight in adapter_weights(policy.model).values():
            weight += 1e-6 * torch.randn(weight.shape)


def changes(server: StandIn) -> list[str]:
    """The requests that change or describe weights, since the last call."""
    made = [route for route in server.requests if route in CHANGES]
    server.requests.clear()
    return made


def newest(server: StandIn, policy: Policy) -> str:
    """The name of the only adapters of a server, which have to be the policy's."""
    ((name, held),) = server.adapters.items()
    expected = adapter_weights(policy.model)
    assert held.keys() == expected.keys()
    assert all(torch.equal(held[key], weight) for key, weight in expected.items())
    return name


def ask(engine, servers: list[StandIn]) -> list[int]:
    """Asks for completions; returns how many prompts each server got, all for the same version."""
    for server in servers:
        server.asked.clear()
        server.models.clear()
    engine.generate(PROMPTS, SEEDS, SAMPLING)
    versions = {name for server in servers for name in server.models}
    assert len(versions) == 1
    assert versions != {"tiny"}
    return [server.num_asked(PROMPTS) for server in servers]


@pytest.mark.slow
def test_servers_get_the_base_once_and_the_adapters_in_each_update(engine, servers, adapted, tmp_path):
    engine.sync_weights(adapted.model)
    first = ["/server_info", "/pause", *BASE, "/v1/load_lora_adapter", *PROOF, "/weight_checker", "/resume"]
    assert [changes(server) for server in servers] == [first] * 2
    old = newest(servers[0], adapted)
    assert newest(servers[1], adapted) == old

    move(adapted)
    engine.sync_weights(adapted.model)
    later = ["/weight_info", "/pause", "/v1/unload_lora_adapter", "/v1/load_lora_adapter", *PROOF, "/resume"]
    assert [changes(server) for server in servers] == [later] * 2
    assert newest(servers[0], adapted) == newest(servers[1], adapted) != old
    assert ask(engine, servers) == [4, 4]
    assert set(servers[0].models) == {newest(servers[0], adapted)}

    written = [path.name for path in (tmp_path / "weights").rglob("*.safetensors")]
    assert written == ["adapter_model.safetensors"]  # the newest adapters, which a server may read again
    engine.close()
    assert not list((tmp_path / "weights").iterdir())


@pytest.mark.slow
def test_the_base_is_given_without_the_adapters(engine, servers, adapted):
    held = {}
    for server in servers:
        server.load = held.update
    engine.sync_weights(adapted.model)
    expected = dict(base_weights(adapted.model))
    assert held.keys() == expected.keys()
    assert all(torch.equal(held[name], weight) for name, weight in expected.items())


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/update_weight_version"])
def test_a_server_that_fails_in_an_update_is_resumed_and_not_asked(engine, servers, adapted, failing):
    engine.sync_weights(adapted.model)
    servers[0].failing = failing
    changes(servers[0])
    move(adapted)
    engine.sync_weights(adapted.model)
    assert changes(servers[0])[-1] == "/resume"
    assert ask(engine, servers) == [0, 8]

    servers[0].failing = ""
    engine.sync_weights(adapted.model)
    assert ask(engine, servers) == [4, 4]
    assert newest(servers[0], adapted) == newest(servers[1], adapted)


@pytest.mark.slow
def test_a_server_that_was_started_again_gets_base_and_adapters_before_it_is_asked(engine, servers, adapted, caplog):
    engine.sync_weights(adapted.model)
    servers[0].start_again()
    with caplog.at_level(logging.WARNING):
        assert ask(engine, servers) == [0, 8]
    assert f"lost the server {servers[0].address}: it does not have the adapters medssr-" in caplog.text

    move(adapted)
    for server in servers:
        changes(server)
    engine.sync_weights(adapted.model)
    assert [BASE[0] in changes(server) for server in servers] == [True, False]
    assert ask(engine, servers) == [4, 4]
    assert newest(servers[0], adapted) == newest(servers[1], adapted)


@pytest.mark.slow
def test_a_server_that_joins_late_gets_base_and_adapters(engine, servers, adapted):
    servers[0].is_lost = True
    engine.sync_weights(adapted.model)
    assert ask(engine, servers) == [0, 8]
    servers[0].is_lost = False
    move(adapted)
    engine.sync_weights(adapted.model)
    assert BASE[0] in changes(servers[0])
    assert ask(engine, servers) == [4, 4]


@pytest.mark.slow
def test_votes_and_evaluation_give_servers_the_adapters_too(engine, servers, adapted):
    assert ask(engine, servers) == [4, 4]
    name = newest(servers[0], adapted)
    servers[1].start_again()
    assert ask(engine, servers) == [8, 0]
    changes(servers[1])
    assert ask(engine, servers) == [4, 4]  # it was given them between two chunks
    assert newest(servers[1], adapted) == name
    assert BASE[0] in changes(servers[1])


@pytest.mark.slow
def test_what_killed_runs_left_is_removed_and_what_others_serve_is_kept(engine, servers, adapted, tmp_path):
    left = tmp_path / "weights" / "adapters" / "medssr-0123-7"
    left.mkdir(parents=True)
    servers[0].adapters = {"medssr-0123-7": {}, "clinic": {}}
    engine.sync_weights(adapted.model)
    assert "medssr-0123-7" not in servers[0].adapters
    assert servers[0].adapters.pop("clinic") == {}
    newest(servers[0], adapted)
    assert not left.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attributes", "taken"),
    [
        ({}, "no adapters"),
        ({"max_lora_rank": 8, "can_change_adapters": False}, "no adapters"),
        ({"max_lora_rank": 1}, "adapters up to rank 1"),
    ],
)
def test_a_server_without_the_options_is_refused_with_them(
    make_engine, stand_ins, adapted, tmp_path, attributes, taken
):
    (server,) = stand_ins(1, **attributes)
    options = r"VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 and VLLM_SERVER_DEV_MODE=1 .*--enable-lora --max-lora-rank 8"
    with pytest.raises(InputError, match=rf"{server.address} takes {taken} while it runs, .* rank 4\. .*{options}"):
        make_engine([server], f"rollout.weights_dir={tmp_path}").sync_weights(adapted.model)
    assert "/pause" not in server.requests


@pytest.mark.slow
def test_without_a_folder_adapters_are_refused_before_servers_are_asked(make_engine, servers, adapted):
    with pytest.raises(InputError, match=r"rollout\.weights_dir: null, but servers are given adapters .* as files"):
        make_engine(servers).sync_weights(adapted.model)
    with pytest.raises(InputError, match=r"rollout\.model: null, .*Give rollout\.weights_dir, .*--lora-modules"):
        make_engine(servers).generate(PROMPTS, SEEDS, SAMPLING)
    assert not servers[0].requests


def test_adapters_that_servers_serve_themselves_are_asked_for_by_name(make_engine, servers, adapted):
    for server in servers:
        server.adapters = {"clinic": {}}
    assert ask(make_engine(servers, "rollout.model=clinic"), servers) == [4, 4]
    assert set(servers[0].models) == {"clinic"}
    assert not [route for server in servers for route in changes(server)]


@pytest.mark.slow
def test_adapters_that_cannot_be_written_are_a_fault_of_the_folder(engine, servers, adapted, tmp_path):
    engine.sync_weights(adapted.model)
    adapters = tmp_path / "weights" / "adapters"
    (before,) = adapters.iterdir()
    taken = Path(f"{str(before)[:-1]}2")  # where the next version goes
    taken.write_text("")
    with pytest.raises(
        InputError, match=r"adapters/medssr-\w+-2.*rollout\.weights_dir.*could not be written.*make room"
    ):
        engine.sync_weights(adapted.model)
    assert [changes(server)[-1] for server in servers] == ["/resume"] * 2
    assert load_file(before / "adapter_model.safetensors")
