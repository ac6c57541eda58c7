"""Connections to a server: limits on time and size, broken answers, proxies."""

from __future__ import annotations

import gzip
import itertools
import select
import socket
import threading
import tracemalloc
import zlib
from contextlib import closing, contextmanager
from functools import partial

import pytest

from medssr.llm.chat_transport import MOST_BYTES, TooLongError, Transport, UnreachableError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@contextmanager
def listener(serve):
    """Accepts connections on this machine and hands each, with the request's head, to `serve`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    request = b""
                    while not request.endswith(b"{}"):  # closed with a part unread, a connection is reset
                        request += connection.recv(2**16)
                    serve(connection, request)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(timeout=60)
    assert not thread.is_alive()


def send_on(connection, pieces, pause_s=0.0):
    """Sends the pieces, with pauses between them, until all are sent or the client has gone."""
    for piece in pieces:
        try:
            connection.sendall(piece)
        except OSError:
            return
        if select.select([connection], [], [], pause_s)[0]:
            return  # the client sends nothing more, so this is its end


def post(url, timeout_s=5.0):
    with closing(Transport(f"{url}/v1/chat/completions", "sk-1", 2, timeout_s)) as transport:
        return transport.post(b"{}")


def test_the_answer_is_status_headers_and_body():
    heads = []

    def serve(connection, head):
        heads.append(head)
        connection.sendall(b"HTTP/1.1 429 Slow\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy")

    with listener(serve) as url:
        response = post(url)
    assert (response.status, response.body, response.headers.get("retry-after")) == (429, b"busy", "3")
    assert heads[0].startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Bearer sk-1\r\n" in heads[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n\n\r\n"),
        (b"", b"\r\n"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
        (b"", b""),
    ],
    ids=["body", "header", "blank lines in the body", "blank lines before it", "interim responses", "nothing"],
)
def test_what_never_ends_is_given_up_in_time_and_gives_its_connection_back(start, piece):
    num_served = itertools.count()

    def serve(connection, _):
        next(num_served)
        send_on(
            connection, itertools.chain([start], itertools.repeat(piece)), 0.02
        )  # each piece in time, all of them never

    with listener(serve) as url, closing(Transport(f"{url}/v1", None, 1, 0.5)) as transport:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                transport.post(b"{}")
    assert next(num_served) == 3  # the one connection that is allowed was free each time


def chunks(piece):
    return itertools.chain(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
        itertools.repeat(b"%x\r\n%s\r\n" % (len(piece), piece)),
    )


def zeros_as_gzip(num_mib):
    compressor = zlib.compressobj(wbits=31)
    zeros = bytes(2**20)
    return b"".join([*(compressor.compress(zeros) for _ in range(num_mib)), compressor.flush()])


def compressed(body, encoding):
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s" % (encoding, len(body), body)


@pytest.mark.slow
@pytest.mark.parametrize("is_compressed", [False, True], ids=["endless", "gzip bomb"])
def test_a_body_that_is_too_long_is_given_up_before_it_takes_memory(is_compressed):
    pieces = [compressed(zeros_as_gzip(256), b"gzip")] if is_compressed else chunks(bytes(2**16))
    with listener(lambda connection, _: send_on(connection, pieces)) as url:
        tracemalloc.start()
        try:
            with pytest.raises(TooLongError, match="longer than 16 MiB"):
                post(url, timeout_s=60.0)
            assert tracemalloc.get_traced_memory()[1] < 5 * MOST_BYTES
        finally:
            tracemalloc.stop()


def test_headers_without_end_are_a_broken_answer():
    headers = itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X-More: and more\r\n" * 100))
    with listener(lambda connection, _: send_on(connection, headers)) as url, pytest.raises(ConnectionError):
        post(url, timeout_s=60.0)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(gzip.compress(b"fine", mtime=0), b"gzip"), (zlib.compress(b"fine"), b"deflate"), (b"fine", b"identity")],
)
def test_a_compressed_answer_is_read(body, encoding):
    with listener(lambda connection, _: connection.sendall(compressed(body, encoding))) as url:
        assert post(url).body == b"fine"


@pytest.mark.parametrize(
    ("body", "encoding", "problem"),
    [
        (b"no gzip", b"gzip", "is broken gzip"),
        (gzip.compress(b"fine", mtime=0)[:-4], b"gzip", "its end is missing"),
        (2 * gzip.compress(b"fine", mtime=0), b"gzip", "something follows its end"),
        (b"fine", b"br", 'compressed with "br", which was not asked for'),
    ],
)
def test_an_answer_that_cannot_be_decompressed_is_a_broken_one(body, encoding, problem):
    serve = partial(send_on, pieces=[compressed(body, encoding)])
    with listener(lambda connection, _: serve(connection)) as url, pytest.raises(ConnectionError, match=problem):
        post(url)


@pytest.mark.parametrize("sent", [b"", HEAD + b"ab", b"no HTTP at all\r\n\r\n"], ids=["nothing", "half", "garbage"])
def test_a_broken_answer_is_a_lost_connection(sent):
    with listener(lambda connection, _: connection.sendall(sent)) as url, pytest.raises(ConnectionError) as caught:
        post(url)
    assert not isinstance(caught.value, UnreachableError)
    assert str(caught.value)


@pytest.mark.parametrize("location", [b"/x", b"//elsewhere.invalid/x", b"https://elsewhere.invalid/x"])
def test_a_redirect_is_not_followed(location):
    heads = []

    def serve(connection, head):
        heads.append(head)
        connection.sendall(b"HTTP/1.1 302 F\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location)

    with listener(serve) as url:
        response = post(url)
    assert response.status == 302
    expected = {b"/x": f"{url}/x", b"//elsewhere.invalid/x": "http://elsewhere.invalid/x"}
    assert response.redirect == expected.get(location, "https://elsewhere.invalid/x")
    assert len(heads) == 1


def test_a_proxy_in_the_environment_is_used_but_for_the_names_in_no_proxy(monkeypatch):
    heads = []

    def serve(connection, head):
        heads.append(head)
        connection.sendall(HEAD + b"proxy")

    with listener(serve) as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        assert post("http://models.invalid").body == b"proxy"
        assert heads[0].startswith(b"POST http://models.invalid/v1/chat/completions ")
        monkeypatch.setenv("no_proxy", "models.invalid")
        with pytest.raises(UnreachableError):
            post("http://models.invalid")
