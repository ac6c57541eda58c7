"""How prompts are spread over servers, with real HTTP servers in place of vLLM's."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import pytest
from support.vllm_stand_in import StandIn

from medssr.engines.server_pool import Job, ServerPool
from medssr.engines.streaming import Request, requests_of
from medssr.engines.types import Sampling
from medssr.engines.vllm_server import ServerDownError, VLLMServer
from medssr.errors import InputError

SAMPLING = Sampling(temperature=1.0, max_new_tokens=8)
G = 8


@pytest.fixture
def threads_left():
    """Returns a function that lists the threads of pools which the test has begun and which have not ended."""
    before = set(threading.enumerate())
    return lambda: [
        thread for thread in set(threading.enumerate()) - before if thread.name.startswith("ThreadPoolExecutor")
    ]


def prompts(number: int) -> list[list[int]]:
    return [[5, index] for index in range(number)]


def seeds(number: int) -> list[list[int]]:
    return [list(range(G * index, G * (index + 1))) for index in range(number)]


def shares(servers: list[StandIn], number: int) -> list[int]:
    return [server.num_asked(prompts(number)) for server in servers]


@pytest.mark.slow
@pytest.mark.parametrize("number", [64, 16, 20])
def test_prompts_per_server_differ_by_at_most_one(make_engine, stand_ins, number):
    servers = stand_ins(8)
    groups = make_engine(servers).generate(prompts(number), seeds(number), SAMPLING)
    assert [len(group) for group in groups] == [G] * number
    counts = shares(servers, number)
    assert sum(counts) == number
    assert max(counts) - min(counts) <= 1


@pytest.mark.slow
def test_equally_fast_servers_with_little_room_get_equally_many(make_engine, stand_ins):
    """Room for two prompts each. All sixteen under way are answered at the same time."""
    servers = stand_ins(8)
    engine = make_engine(servers, f"rollout.max_concurrency={2 * G}")
    engine.generate(prompts(1), seeds(1), SAMPLING)  # connects
    together = threading.Barrier(16, timeout=60)
    for server in servers:
        server.before_answer = together.wait
        server.asked.clear()
    engine.generate(prompts(64), seeds(64), SAMPLING)
    assert shares(servers, 64) == [8] * 8


@pytest.mark.slow
def test_a_slow_server_gets_less(make_engine, stand_ins):
    servers = stand_ins(3)
    engine = make_engine(servers, f"rollout.max_concurrency={G}")
    engine.generate(prompts(1), seeds(1), SAMPLING)
    others_are_done, left = threading.Event(), threading.Semaphore(0)

    def count() -> None:
        left.release()
        if left._value == 11:
            others_are_done.set()

    servers[0].before_answer = lambda: others_are_done.wait(60)
    servers[1].before_answer = servers[2].before_answer = count
    for server in servers:
        server.asked.clear()
    engine.generate(prompts(12), seeds(12), SAMPLING)
    counts = shares(servers, 12)
    assert (counts[0], sum(counts)) == (1, 12)


def test_processes_with_few_prompts_begin_with_different_servers(stand_ins):
    servers = stand_ins(8)
    pool = make_pool(servers, 256)
    asked = [
        server.address
        for process in range(4)
        for _, server in pool.spread([[Job(0, G, 9), Job(1, G, 9)]], 2 * process, lambda server, index: server)
    ]
    assert sorted(asked) == sorted(server.address for server in servers)


def make_pool(servers: list[StandIn], max_concurrency: int) -> ServerPool:
    pool = ServerPool([VLLMServer(server.address, None, 60) for server in servers], max_concurrency)
    for server in pool.servers:
        pool.include(server)
    return pool


def test_a_batch_is_sent_longest_first_and_a_server_gets_as_many_tokens_as_the_others(stand_ins):
    pool = make_pool(stand_ins(2), 256)
    all_sent, sent = threading.Event(), []

    def ask(server: VLLMServer, num_tokens: int) -> VLLMServer:
        sent.append((server, num_tokens))
        if len(sent) == 5:
            all_sent.set()
        assert all_sent.wait(60)
        return server

    jobs = [Job(num_tokens, G, num_tokens) for num_tokens in (10, 30, 20, 90, 25)]
    list(pool.spread([jobs], 0, ask))
    shares = {server: sorted(tokens for asked, tokens in sent if asked is server) for server in pool.servers}
    assert list(shares.values()) == [[90], [10, 20, 25, 30]]


def test_a_stream_takes_a_batch_once_there_is_room_and_yields_answers_as_they_come(threads_left, stand_ins):
    pool = make_pool(stand_ins(2), 2 * G)
    num_taken = 0
    last_of_others = threading.Event()

    def endless():
        nonlocal num_taken
        for start in itertools.count(0, 4):
            num_taken += 1
            yield [Job(index, G, 9) for index in range(start, start + 4)]

    def ask(server: VLLMServer, index: int) -> int:
        if index == 0:
            assert last_of_others.wait(60)
        return index

    answers = pool.spread(endless(), 0, ask)
    others = [next(answers)[0] for _ in range(40)]
    assert 0 not in others
    assert set(others) >= set(range(1, 37))  # three further ones are under way at most
    assert num_taken <= 12
    last_of_others.set()
    answers.close()
    assert not threads_left()


@pytest.mark.slow
def test_a_stream_that_is_closed_ends_the_requests_that_hang(threads_left, make_engine, stand_ins):
    servers = stand_ins(2)
    engine = make_engine(servers)
    engine.generate(prompts(1), seeds(1), SAMPLING)
    servers[0].hanging = "/v1/completions"
    answers = engine.stream([requests_of(prompts(8), seeds(8))], SAMPLING)
    next(answers)
    answers.close()
    assert not threads_left()


@pytest.mark.slow
def test_a_stream_tries_a_lost_server_again(make_engine, stand_ins):
    servers = stand_ins(2)
    engine = make_engine(servers, f"rollout.max_concurrency={G}")
    servers[0].is_lost = True

    def batches():
        for start in range(0, 16, 4):
            yield [Request(index, [5, index], list(range(G))) for index in range(start, start + 4)]
            servers[0].is_lost = False

    assert sorted(index for index, _ in engine.stream(batches(), SAMPLING)) == list(range(16))
    assert servers[0].num_asked(prompts(16)) > 0


@pytest.mark.slow
def test_a_lost_server_that_comes_back_gets_its_share_again(make_engine, stand_ins, caplog):
    servers = stand_ins(4)
    engine = make_engine(servers)
    engine.generate(prompts(16), seeds(16), SAMPLING)
    servers[2].is_lost = True
    for server in servers:
        server.asked.clear()
    with caplog.at_level(logging.WARNING):
        assert len(engine.generate(prompts(16), seeds(16), SAMPLING)) == 16
    assert f"lost the server {servers[2].address}: the connection broke during /v1/completions" in caplog.text
    counts = shares(servers, 16)
    assert (counts[2], sum(counts)) == (0, 16)

    servers[2].is_lost = False
    for server in servers:
        server.asked.clear()
    engine.generate(prompts(16), seeds(16), SAMPLING)
    assert shares(servers, 16) == [4] * 4


@pytest.mark.slow
def test_a_refused_prompt_ends_the_requests_that_hang(threads_left, make_engine, stand_ins):
    servers = stand_ins(2)
    engine = make_engine(servers)
    engine.generate(prompts(2), seeds(2), SAMPLING)
    servers[0].hanging = servers[1].refusing = "/v1/completions"
    with pytest.raises(InputError, match=r"refuses /v1/completions with 400"):
        engine.generate(prompts(8), seeds(8), SAMPLING)
    assert not threads_left()


@pytest.mark.slow
def test_a_signal_ends_the_requests_that_hang(threads_left, make_engine, stand_ins):
    servers = stand_ins(2)
    engine = make_engine(servers)
    engine.generate(prompts(2), seeds(2), SAMPLING)
    all_hang = threading.Barrier(9)
    for server in servers:
        server.before_answer = lambda server=server: (all_hang.wait(60), server.may_end.wait())

    def interrupt() -> None:
        all_hang.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        engine.generate(prompts(8), seeds(8), SAMPLING)
    assert not threads_left()


@pytest.mark.slow
def test_a_sampling_in_another_thread_is_ended(make_engine, stand_ins, caplog):
    """Its servers are not lost by that."""
    servers = stand_ins(2)
    engine = make_engine(servers)
    engine.generate(prompts(2), seeds(2), SAMPLING)
    all_hang = threading.Barrier(9)
    for server in servers:
        server.before_answer = lambda server=server: (all_hang.wait(60), server.may_end.wait(60))
    with ThreadPoolExecutor(1) as threads:
        sampling = threads.submit(engine.generate, prompts(8), seeds(8), SAMPLING)
        all_hang.wait(60)
        engine.interrupt()
        with pytest.raises(InterruptedError):
            sampling.result(60)
    assert "lost the server" not in caplog.text


@pytest.mark.slow
def test_a_body_that_trickles_in_is_given_up_in_time():
    """Each byte comes soon enough, but not the whole body; a response of HTTP/1.0 ends with its connection."""
    listener, has_ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def trickle() -> None:
        connected, _ = listener.accept()
        with connected, suppress(OSError):
            connected.recv(4096)
            connected.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not has_ended.wait(0.05):
                connected.sendall(b" ")

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    with closing(listener):
        server = VLLMServer(f"http://127.0.0.1:{listener.getsockname()[1]}", None, 0.5)
        try:
            with pytest.raises(ServerDownError, match=r"was not done within 0\.5 s"):
                server.weight_version()
        finally:
            has_ended.set()
            thread.join(60)
