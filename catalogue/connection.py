"""Requests to one ComfyUI server: what to repeat, what a proxy's answer means, and answers that aren't ComfyUI's."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from .protocol import ComfyError, Denied, Unreachable

_BEHIND = (502, 503, 504)  # a proxy's answers when the server behind it is gone


class Connection:
    """Open it with `async with`. `headers` go with every request; `cafile` is a certificate authority to trust."""

    def __init__(self, url: str, *, headers: Mapping[str, str] | None, cafile: str | None, timeout: float) -> None:
        self.url = url.rstrip("/")
        try:
            local = urlsplit(self.url)
            if local.scheme not in ("http", "https") or not local.hostname or local.port == 0:
                raise ValueError("http:// or https://, a host and perhaps a port are expected")
        except ValueError as error:
            raise ComfyError(f"{url!r} is no server's address ({error}).") from None
        self._headers = dict(headers or {})
        try:
            self._tls = ssl.create_default_context(cafile=cafile) if cafile else True
        except OSError as error:  # SSLError is one
            raise ComfyError(f"{cafile} can't be read as certificates ({error}).") from error
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=10)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # A proxy set for the outside world must not be asked for this machine's own server.
        local = urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=self._timeout,
            trust_env=not local,
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=32),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        repeat: bool = True,
        make_data: Callable[[], aiohttp.FormData] | None = None,
        **arguments: Any,
    ) -> tuple[int, bytes]:
        """Status and body. What was never sent is tried again, a broken connection only where `repeat` says so."""
        assert self._session is not None, "open the server with `async with`"
        pauses = [0.1, 0.5]
        while True:
            try:
                if make_data:
                    arguments["data"] = make_data()
                async with self._session.request(method, self.url + path, **arguments) as response:
                    body = await response.read()
                    if response.status in _BEHIND:
                        raise Unreachable(f"ComfyUI at {self.url} does not answer: {response.status} from its proxy")
                    if response.status in (401, 403):
                        raise Denied(f"{self.url} denies access ({response.status}): check the token header.")
                    return response.status, body
            except (aiohttp.ClientError, OSError, TimeoutError, Unreachable) as error:
                never_sent = isinstance(error, aiohttp.ClientConnectorError)
                if not pauses or not (repeat or never_sent):
                    if isinstance(error, Unreachable):
                        raise
                    reason = str(error) or type(error).__name__
                    raise Unreachable(f"ComfyUI at {self.url} does not answer: {reason}") from error
                await asyncio.sleep(pauses.pop(0))

    async def json(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        return parsed(path, checked(method, path, *await self.request(method, path, **arguments)))


def checked(method: str, path: str, status: int, body: bytes) -> bytes:
    """`body`, unless the status is an error's: that raises ComfyError with the server's words."""
    if status >= 400:
        text = body.decode("utf-8", "replace").strip()[:500]
        raise ComfyError(f"{method} {path} gave {status}: {text}")
    return body


def parsed(path: str, body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; raises ComfyError for anything else."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        start = body[:80].decode("utf-8", "replace")
        raise ComfyError(f"{path} answered with something that isn't ComfyUI's JSON: {start!r}. Is the address right?")
    return answer
