"""The ways of a server of which no answer is of use: each takes a request and responds to it.

`server.py LOG SECONDS MODE` responds to every request in the way that MODE names.
"""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from functools import cache, reduce
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType

BOMB_BYTES = 2**30
_PIECE = bytes(2**20)
# Seconds between two pieces of a response that trickles in: each comes well within any time-out.
_PAUSE_S = 0.02


def trickling(handler: BaseHTTPRequestHandler) -> None:
    """Sends an answer byte by byte, for as long as the client listens."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(BOMB_BYTES))
    handler.end_headers()
    _trickle(handler, b"x")


def trickling_headers(handler: BaseHTTPRequestHandler) -> None:
    """Sends a header byte by byte, for as long as the client listens."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _trickle(handler, b"x")


def keep_alive_lines(handler: BaseHTTPRequestHandler) -> None:
    """Sends blank lines, as servers do while a request waits for its turn, and never the answer."""
    _start_chunks(handler)
    _trickle(handler, b"1\r\n\n\r\n")


def gzip_bomb(handler: BaseHTTPRequestHandler) -> None:
    """Sends a gigabyte of zeros that a megabyte of gzip holds."""
    _send(handler, _compressed_zeros(), {"Content-Encoding": "gzip"})


def endless_body(handler: BaseHTTPRequestHandler) -> None:
    """Sends zeros as fast as the client takes them, for ever."""
    _start_chunks(handler)
    while True:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(_PIECE), _PIECE))


def endless_headers(handler: BaseHTTPRequestHandler) -> None:
    """Sends headers as fast as the client takes them, for ever."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-More: and more\r\n" * 1000)


def redirect(handler: BaseHTTPRequestHandler) -> None:
    """Names another address, as a server does that has moved."""
    _send(handler, b"", {"Location": "/moved/v1/chat/completions"}, status=308)


def never_usable(handler: BaseHTTPRequestHandler) -> None:
    """Answers in time and in good form, and never with what was asked for."""
    message = {"role": "assistant", "content": "I am a helpful assistant. How can I help you today?"}
    body = {"choices": [{"message": message, "finish_reason": "stop"}]}
    _send(handler, json.dumps(body | {"usage": {"prompt_tokens": 100, "completion_tokens": 12}}).encode())


def login_page(handler: BaseHTTPRequestHandler) -> None:
    """Answers with the page of a portal, and with status 200."""
    _send(handler, b"<html><title>Sign in to the network</title></html>")


MODES: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    mode.__name__: mode
    for mode in (
        *(trickling, trickling_headers, keep_alive_lines, gzip_bomb, endless_body, endless_headers),
        *(redirect, never_usable, login_page),
    )
}


def prepare(mode: str) -> None:
    """Makes what a mode needs seconds for, before the first request comes."""
    if mode == "gzip_bomb":
        _compressed_zeros()


def respond(handler: BaseHTTPRequestHandler, mode: str) -> None:
    """Responds in the way of the mode, and closes the connection where the client has gone."""
    try:
        MODES[mode](handler)
    except ConnectionError:
        handler.close_connection = True


def _trickle(handler: BaseHTTPRequestHandler, piece: bytes) -> None:
    while True:  # ends with the connection
        handler.wfile.write(piece)
        time.sleep(_PAUSE_S)


def _send(
    handler: BaseHTTPRequestHandler, body: bytes, headers: Mapping[str, str] = MappingProxyType({}), status: int = 200
) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def _start_chunks(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()


@cache
def _compressed_zeros() -> bytes:
    """Returns a gigabyte of zeros as gzip: one piece, compressed once and repeated."""
    compressor = zlib.compressobj(wbits=-15)
    piece = compressor.compress(_PIECE) + compressor.flush(zlib.Z_FULL_FLUSH)
    count = BOMB_BYTES // len(_PIECE)
    checksum = reduce(lambda before, _: zlib.crc32(_PIECE, before), range(count), 0)
    end = compressor.flush() + struct.pack("<II", checksum, BOMB_BYTES)
    return b"\x1f\x8b\x08" + bytes(7) + piece * count + end
