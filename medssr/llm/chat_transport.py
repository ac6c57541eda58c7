"""Posts requests to a chat server and returns its responses whole, with a limit on the time of each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_LONGEST_CONNECT_S = 10.0

_CHUNK_BYTES = 2**16


class UnreachableError(ConnectionError):
    """No connection came about: nobody listens, the name is unknown, the certificate is wrong."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a server sent back.

    Attributes:
        status: HTTP status.
        headers: Names in any case.
        body: The whole body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Posts JSON to an address.

    The environment's proxies are used (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).

    Args:
        url: Where to.
        key: Sent as a bearer token; None for a server without one.
        max_connections: Exchanges under way at a time.
        timeout_s: The longest an exchange may take, and connecting 10 seconds of it.
    """

    def __init__(self, url: str, key: str | None, max_connections: int, timeout_s: float) -> None:
        from urllib3 import PoolManager, ProxyManager, Timeout

        self._url = url
        self._timeout_s = timeout_s
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._timeout = Timeout(connect=min(timeout_s, _LONGEST_CONNECT_S), read=timeout_s)
        address = urlsplit(url)
        proxy = None if proxy_bypass(address.hostname or "") else getproxies().get(address.scheme)
        if proxy is None:
            self._pools: PoolManager = PoolManager(num_pools=1, maxsize=max_connections, block=True)
        else:
            self._pools = ProxyManager(proxy, num_pools=1, maxsize=max_connections, block=True)

    def post(self, body: bytes) -> Response:
        """Returns the response, whatever its status.

        Raises:
            UnreachableError: When no connection comes about.
            TimeoutError: When the response is not there in time, be it that it trickles in.
            ConnectionError: When the connection is lost.
        """
        from urllib3 import exceptions

        deadline = time.monotonic() + self._timeout_s
        try:
            # One attempt: who calls counts and records each.
            response = self._pools.urlopen(
                "POST",
                self._url,
                body=body,
                headers=self._headers,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
            received = bytearray()
            is_whole = False
            try:
                while chunk := response.read1(_CHUNK_BYTES):
                    received += chunk
                    if time.monotonic() > deadline:
                        raise TimeoutError("the answer trickles in")
                is_whole = True
            finally:
                if is_whole:
                    response.release_conn()
                else:
                    response.close()  # what is still to come would be taken for the next answer
            return Response(response.status, response.headers, bytes(received))
        except (exceptions.ConnectTimeoutError, exceptions.SSLError, exceptions.ProxyError) as error:
            raise UnreachableError(str(error)) from error
        except exceptions.TimeoutError as error:
            raise TimeoutError(str(error)) from error
        except exceptions.HTTPError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """Closes the connections."""
        self._pools.clear()
