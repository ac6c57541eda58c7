"""Posts requests to a chat server and returns its responses whole, with a limit on the time and the size of each."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    from aiohttp import ClientSession

Result = TypeVar("Result")

# Of a response, compressed or not. An answer of 100,000 tokens is below one MiB; log-probs make it longer.
MOST_BYTES = 2**24
_LONGEST_CONNECT_S = 10.0
# Seconds that the event loop may take beyond an exchange's own limit; it does nothing that takes longer.
_GRACE_S = 10.0


class UnreachableError(ConnectionError):
    """No connection came about: nobody listens, the name is unknown, the certificate is wrong."""


class TooLongError(ConnectionError):
    """The response was longer than is read."""

    def __init__(self) -> None:
        super().__init__(f"the response is longer than {MOST_BYTES // 2**20} MiB")


@dataclass(frozen=True, slots=True)
class Response:
    """What a server sent back.

    Attributes:
        status: HTTP status.
        headers: Names in any case.
        body: The whole body, decompressed.
        redirect: The address that the server sends the client to in place of an answer; None without one.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    redirect: str | None = None


class Transport:
    """Posts JSON to an address. Used by many threads at a time.

    The exchanges take place in an event loop in a thread of its own, which breaks off each one in time, whatever the
    server sends. The environment's proxies are used (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).

    Args:
        url: Where to.
        key: Sent as a bearer token; None for a server without one.
        max_connections: Exchanges under way at a time.
        timeout_s: The longest an exchange may take, and connecting 10 seconds of it.
    """

    def __init__(self, url: str, key: str | None, max_connections: int, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        address = urlsplit(url)
        self._proxy = None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat transport", daemon=True)
        self._thread.start()
        self._session = self._run(self._open(max_connections))

    def post(self, body: bytes) -> Response:
        """Returns the response, whatever its status. It is one attempt: who calls counts and records each.

        Raises:
            UnreachableError: When no connection comes about.
            TimeoutError: When the response is not there in time, be it that it trickles in.
            TooLongError: When the response, or what it is compressed from, is longer than `MOST_BYTES`.
            ConnectionError: When the connection is lost, or the response breaks the protocol.
        """
        import aiohttp

        try:
            response = self._run(self._exchange(body))
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            raise UnreachableError(str(error) or type(error).__name__) from error
        except TimeoutError:
            raise
        except (aiohttp.ClientError, ValueError) as error:  # ValueError: headers that are none
            problem = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
            raise ConnectionError(problem or type(error).__name__) from error
        return _decompressed(response)

    def close(self) -> None:
        """Closes the connections."""
        if self._thread.is_alive():
            self._run(self._session.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_GRACE_S)
            self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Returns the result of work in the event loop; work whose caller gives up is cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(self._timeout_s + _GRACE_S)
        finally:
            future.cancel()

    async def _open(self, max_connections: int) -> ClientSession:
        from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

        return ClientSession(
            connector=TCPConnector(limit=max_connections),
            headers=self._headers,
            timeout=ClientTimeout(total=None, sock_connect=min(self._timeout_s, _LONGEST_CONNECT_S)),
            cookie_jar=DummyCookieJar(),
            auto_decompress=False,
        )

    async def _exchange(self, body: bytes) -> Response:
        async with (
            asyncio.timeout(self._timeout_s),
            self._session.post(self._url, data=body, proxy=self._proxy, allow_redirects=False) as response,
        ):
            pieces: list[bytes] = []
            num_bytes = 0
            async for piece in response.content.iter_any():  # left before its end, the connection is closed
                pieces.append(piece)
                num_bytes += len(piece)
                if num_bytes > MOST_BYTES:
                    pieces.clear()  # the error's traceback would keep them
                    raise TooLongError
            location = response.headers.get("Location") if 300 <= response.status < 400 else None
            redirect = None if location is None else urljoin(self._url, location)
            return Response(response.status, response.headers, b"".join(pieces), redirect)


def _decompressed(response: Response) -> Response:
    """Returns the response with its body decompressed: some servers compress it unasked."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding in ("", "identity") or not response.body:
        return response
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ConnectionError(f'the response is compressed with "{encoding}", which was not asked for')
    decoder = zlib.decompressobj(wbits=47)  # with the header of either
    try:
        body = decoder.decompress(response.body, MOST_BYTES + 1)
    except zlib.error as error:
        raise ConnectionError(f"the response is broken {encoding} ({error})") from error
    if len(body) > MOST_BYTES:
        raise TooLongError
    if not decoder.eof or decoder.unused_data:
        problem = "its end is missing" if not decoder.eof else "something follows its end"
        raise ConnectionError(f"the response is broken {encoding} ({problem})")
    return Response(response.status, response.headers, body, response.redirect)
