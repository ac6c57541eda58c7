"""Connections to a server: time limits, broken answers, proxies."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, contextmanager

import pytest

from medssr.llm.chat_transport import Transport, UnreachableError

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
    thread.join()


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


def test_an_answer_that_trickles_in_is_given_up_as_a_whole():
    ended = threading.Event()

    def serve(connection, _):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not ended.wait(0.02):
            try:
                connection.sendall(b"x")  # each byte in time, all of them never
            except OSError:
                return

    with listener(serve) as url:
        with pytest.raises(TimeoutError):
            post(url, timeout_s=0.2)
        ended.set()


@pytest.mark.parametrize("sent", [b"", HEAD + b"ab", b"no HTTP at all\r\n\r\n"], ids=["nothing", "half", "garbage"])
def test_a_broken_answer_is_a_lost_connection(sent):
    with listener(lambda connection, _: connection.sendall(sent)) as url, pytest.raises(ConnectionError) as caught:
        post(url)
    assert not isinstance(caught.value, UnreachableError)
    assert str(caught.value)


def test_a_redirect_is_not_followed():
    with listener(lambda connection, _: connection.sendall(b"HTTP/1.1 302 F\r\nLocation: /x\r\n\r\n")) as url:
        assert post(url).status == 302


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
