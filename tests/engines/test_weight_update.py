"""An update of servers' weights, with HTTP servers in place of vLLM's that read what they are given."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from support.vllm_stand_in import CHANGES, StandIn

from medssr.config import LoRAConfig
from medssr.engines.packed_weights import packed_parts
from medssr.engines.types import Sampling
from medssr.engines.weight_checksums import Checksums, stale_weights
from medssr.errors import InputError
from medssr.models.lora import add_adapters, base_weights

SAMPLING = Sampling(temperature=1.0, max_new_tokens=8)
PROMPTS = [[5, index] for index in range(8)]
SEEDS = [[index] for index in range(8)]


def changes(server: StandIn) -> list[str]:
    """The requests that change or describe weights, since the last call."""
    made = [route for route in server.requests if route in CHANGES]
    server.requests.clear()
    return made


def nudge(policy: Any, size: float) -> None:
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight += size * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
def test_servers_are_paused_before_and_resumed_after_an_update(make_engine, stand_ins, policy, tmp_path):
    servers = stand_ins(2)
    engine = make_engine(servers, f"rollout.weights_dir={tmp_path}/weights")
    engine.sync_weights(policy.model)
    part = ["/pause", "/collective_rpc", "/reset_prefix_cache", "/update_weight_version", "/weight_checker", "/resume"]
    assert [changes(server) for server in servers] == [["/server_info", *part]] * 2
    given = load_file(tmp_path / "weights" / "trainer" / "model.safetensors")
    assert all(torch.equal(given[name], weight) for name, weight in policy.model.state_dict().items())

    nudge(policy, 1e-6)
    engine.sync_weights(policy.model)
    assert [changes(server) for server in servers] == [["/weight_info", *part]] * 2
    engine.close()
    assert not list((tmp_path / "weights").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("failing", ["/collective_rpc", "/reset_prefix_cache", "/weight_checker"])
def test_a_server_is_resumed_although_its_update_fails(make_engine, stand_ins, policy, tmp_path, failing):
    (server,) = stand_ins(1, failing=failing)
    with pytest.raises(InputError, match=r"no server is left .* failed with 500"):
        make_engine([server], f"rollout.weights_dir={tmp_path}").sync_weights(policy.model)
    assert changes(server)[-1] == "/resume"


def test_weights_that_cannot_be_written_are_a_fault_of_the_folder(make_engine, stand_ins, policy, tmp_path):
    (tmp_path / "taken").write_text("")
    (server,) = stand_ins(1)
    with pytest.raises(InputError, match=r"taken/weights.*rollout.weights_dir.*could not be written.*make room"):
        make_engine([server], f"rollout.weights_dir={tmp_path}/taken/weights").sync_weights(policy.model)
    assert changes(server)[-1] == "/resume"


@pytest.mark.slow
def test_a_server_that_keeps_its_weights_is_found_after_the_smallest_step(
    make_engine, stand_ins, policy, tmp_path, caplog
):
    servers = stand_ins(2)
    engine = make_engine(servers, f"rollout.weights_dir={tmp_path}")
    engine.sync_weights(policy.model)
    servers[1].takes_weights = False
    nudge(policy, 1e-9)
    with caplog.at_level(logging.WARNING):
        engine.sync_weights(policy.model)
    assert f"lost the server {servers[1].address}: it does not have the weights that it was given" in caplog.text
    engine.generate(PROMPTS, SEEDS, SAMPLING)
    assert [server.num_asked(PROMPTS) for server in servers] == [8, 0]


@pytest.mark.slow
def test_completions_of_a_server_that_was_started_again_are_asked_for_elsewhere(
    make_engine, stand_ins, policy, tmp_path, caplog
):
    servers = stand_ins(2)
    engine = make_engine(servers, f"rollout.weights_dir={tmp_path}")
    engine.sync_weights(policy.model)
    servers[0].weight_version = "default"
    with caplog.at_level(logging.WARNING):
        engine.generate(PROMPTS, SEEDS, SAMPLING)
    assert f"lost the server {servers[0].address}: it has other weights than it was given" in caplog.text
    assert [server.num_asked(PROMPTS) for server in servers] == [4, 8]


@pytest.mark.slow
def test_in_training_a_lost_server_comes_back_with_the_next_update(make_engine, stand_ins, policy, tmp_path):
    servers = stand_ins(2)
    engine = make_engine(servers, f"rollout.weights_dir={tmp_path}")
    engine.sync_weights(policy.model)
    servers[0].is_lost = True
    engine.generate(PROMPTS, SEEDS, SAMPLING)
    servers[0].is_lost = False
    for server in servers:
        server.asked.clear()
        server.requests.clear()
    engine.generate(PROMPTS, SEEDS, SAMPLING)
    assert [server.num_asked(PROMPTS) for server in servers] == [0, 8]
    assert [set(changes(server)) for server in servers] == [set(), {"/weight_info"}]
    engine.sync_weights(policy.model)
    for server in servers:
        server.asked.clear()
    engine.generate(PROMPTS, SEEDS, SAMPLING)
    assert [server.num_asked(PROMPTS) for server in servers] == [4, 4]


class GlooStandIn(StandIn):
    """A stand-in that receives weights by vLLM's requests for broadcasts."""

    group: Any = None

    def answer(self, route: str, body: dict[str, Any]) -> dict[str, Any]:
        if route == "/get_world_size":
            return {"world_size": 1}
        if route == "/init_weight_transfer_engine":
            info = body["init_info"]
            time = timedelta(seconds=60)
            store = dist.TCPStore(info["master_address"], info["master_port"], is_master=False, timeout=time)
            self.group = dist.ProcessGroupGloo(store, info["rank_offset"], info["world_size"], time)
            return {}
        if route == "/update_weights" and self.takes_weights:
            info = body["update_info"]
            rows = list(zip(info["names"], info["dtype_names"], info["shapes"], strict=True))
            sizes = [torch.Size(shape).numel() * getattr(torch, dtype).itemsize for _, dtype, shape in rows]
            buffer = torch.empty(sum(sizes), dtype=torch.uint8)
            self.group.broadcast(buffer, 0).wait()
            parts = zip(rows, buffer.split(sizes), strict=True)
            self.load({name: part.view(getattr(torch, dtype)).view(shape) for (name, dtype, shape), part in parts})
            return {}
        return super().answer(route, body)


@pytest.fixture
def gloo(stand_ins, monkeypatch):
    """Two servers that receive weights by broadcast."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    routes = ("/get_world_size", "/init_weight_transfer_engine", "/shutdown_weight_transfer_engine")
    routes += ("/start_weight_update", "/update_weights", "/finish_weight_update")
    return stand_ins(2, kind=GlooStandIn, transfer={"backend": "gloo"}, routes=(*StandIn.routes, *routes))


@pytest.mark.slow
def test_weights_are_broadcast_where_servers_can_receive_them(make_engine, gloo, policy):
    engine = make_engine(gloo)
    engine.sync_weights(policy.model)
    weights = {f"dp0:pp0:pcp0:tp0:{name}" for name in policy.model.state_dict()}
    assert [set(server.checksums) for server in gloo] == [weights] * 2
    before = dict(gloo[0].checksums)
    nudge(policy, 1e-6)
    engine.sync_weights(policy.model)
    assert gloo[0].checksums == gloo[1].checksums
    assert all(gloo[0].checksums[name] != before[name] for name in weights)
    assert [server.requests.count("/init_weight_transfer_engine") for server in gloo] == [1, 1]


@pytest.mark.slow
def test_a_broadcast_goes_on_without_a_server_that_fails_in_it(make_engine, gloo, policy, caplog):
    engine = make_engine(gloo, "rollout.timeout_s=10")
    engine.sync_weights(policy.model)
    gloo[0].failing = "/update_weights"
    nudge(policy, 1e-6)
    with caplog.at_level(logging.WARNING):
        engine.sync_weights(policy.model)
    assert f"lost the server {gloo[0].address}: receiving the new weights failed with 500" in caplog.text
    engine.generate(PROMPTS, SEEDS, SAMPLING)
    assert [server.num_asked(PROMPTS) for server in gloo] == [0, 8]
    gloo[0].failing = ""
    engine.sync_weights(policy.model)
    assert gloo[0].checksums == gloo[1].checksums


@pytest.mark.slow
def test_with_adapters_the_base_is_broadcast_once_also_after_a_broken_transfer(make_engine, gloo, policy, tmp_path):
    add_adapters(policy.model, LoRAConfig(rank=4, alpha=8, target_modules=None), seed=0)
    for server in gloo:
        server.max_lora_rank = 8
    engine = make_engine(gloo, f"rollout.weights_dir={tmp_path}", "rollout.timeout_s=10")
    gloo[0].failing = "/update_weights"
    engine.sync_weights(policy.model)
    base = {f"dp0:pp0:pcp0:tp0:{name}" for name, _ in base_weights(policy.model)}
    assert [set(server.checksums) for server in gloo] == [set(), base]
    gloo[0].failing = ""
    engine.sync_weights(policy.model)
    assert gloo[0].checksums == gloo[1].checksums
    assert [server.requests.count("/finish_weight_update") for server in gloo] == [1, 2]  # the broken one too
    assert gloo[0].adapters.keys() == gloo[1].adapters.keys()
    assert [server.requests.count("/shutdown_weight_transfer_engine") for server in gloo] == [1, 2]
    assert [path.name for path in tmp_path.iterdir()] == ["adapters"]


def test_a_part_ends_with_the_weight_that_exceeds_its_size():
    weights = [("a", torch.arange(3.0)), ("b", torch.ones(1, 2, dtype=torch.bfloat16)), ("c", torch.zeros(5))]
    first, second = packed_parts(iter(weights), 12)
    assert (first.names, first.dtype_names, first.shapes) == (["a", "b"], ["float32", "bfloat16"], [[3], [1, 2]])
    assert (second.names, len(second.buffer)) == (["c"], 20)
    assert torch.equal(first.buffer[:12].view(torch.float32), torch.arange(3.0))


@pytest.mark.vllm
@pytest.mark.parametrize("part_bytes", [1, 700, 10**9])
def test_parts_are_those_that_vllm_makes_and_reads(policy, part_bytes):
    packing = pytest.importorskip("vllm.distributed.weight_transfer.packed_tensor")
    weights = [(name, weight.detach()) for name, weight in policy.model.state_dict().items()]
    expected = iter(weights)
    for part in packed_parts(iter(weights), part_bytes):
        theirs = packing.pack_tensors(expected, lambda item: item[1], part_bytes)
        assert torch.equal(part.buffer, theirs.packed_tensor)
        assert (part.names, part.shapes) == (theirs.names, theirs.shapes)
        dtypes = [getattr(torch, name) for name in part.dtype_names]
        unpacked = packing.unpack_tensor(part.buffer, part.names, part.shapes, dtypes, theirs.tensor_sizes)
        assert all(torch.equal(weight, policy.model.state_dict()[name]) for name, weight in unpacked)
    assert next(expected, None) is None


def keys(**held: str) -> dict[str, str]:
    return {f"dp0:pp0:pcp0:{holder.replace('_', ':')}": checksum for holder, checksum in held.items()}


@pytest.mark.parametrize(
    ("before", "after", "stale"),
    [
        (Checksums({"w": "1"}, keys(tp0_w="1")), Checksums({"w": "2"}, keys(tp0_w="2")), []),
        (Checksums({"w": "1"}, keys(tp0_w="1")), Checksums({"w": "2"}, keys(tp0_w="1")), ["w"]),
        (Checksums({"w": "1"}, keys(tp0_w="1")), Checksums({"w": "2"}, keys(tp0_w="3")), ["w"]),
        (Checksums({"w": "1"}, keys(tp0_w="1")), Checksums({"w": "1"}, keys(tp0_w="1")), []),
        (Checksums({"w": "1"}, keys(tp0_w="a", tp1_w="b")), Checksums({"w": "2"}, keys(tp0_w="a", tp1_w="c")), []),
        (Checksums({"w": "1"}, keys(tp0_w="a", tp1_w="b")), Checksums({"w": "2"}, keys(tp0_w="a", tp1_w="b")), ["w"]),
        (Checksums({"w": "1"}, keys(tp0_v="a")), Checksums({"w": "2"}, keys(tp0_v="a")), []),
        (Checksums(), Checksums({"w": "2"}, keys(tp0_w="1")), []),
        (
            Checksums({"o.weight": "1"}, {"dp0:pp0:pcp0:tp0:o.base_layer.weight": "1"}),
            Checksums({"o.weight": "1"}, {"dp0:pp0:pcp0:tp0:o.base_layer.weight": "2"}),
            ["o.weight"],
        ),
    ],
    ids=["taken", "kept", "other", "unchanged", "split", "split-kept", "joined", "first", "adapted"],
)
def test_what_a_server_must_hold(before, after, stale):
    assert stale_weights(before, after) == stale


@pytest.mark.slow
def test_the_smallest_room_for_a_file_is_not_enough(make_engine, stand_ins, policy, tmp_path):
    """A limit of the size of files stands for a full disk."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    engine = make_engine(stand_ins(1), f"rollout.weights_dir={tmp_path}/weights")
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match=r"weights.*could not be written there .*They need .* GB"):
            engine.sync_weights(policy.model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "weights" / "trainer").exists()
