"""The servers of a run: how to reach them, and what is known of each while it works."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .ledger import Entry


@dataclass(frozen=True)
class Fleet:
    """The servers, and how to talk to them. `listing`: a file with an address a line, read again when it changes."""

    urls: tuple[str, ...] = ()
    listing: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cafile: str | None = None
    in_flight: int = 4
    """The most jobs that one server is given at a time: what it runs, and what waits there so that it never idles."""
    attempts: int = 3
    """How often a job may fail by itself."""
    patience: float = 600.0
    """Seconds to go on without any server."""

    def addresses(self) -> list[str]:
        listed = self.listing.read_text().split() if self.listing and self.listing.is_file() else []
        return list(dict.fromkeys(url.rstrip("/") for url in (*self.urls, *listed)))


@dataclass
class Lane:
    """One server's part in the run."""

    url: str
    pace: float | None = None
    """Seconds from one finished job to the next."""
    up: bool = False
    down: bool = False
    """It was asked in vain, and has not come up since."""
    unfit: str | None = None
    """Why this server can't take part, although it answers."""
    told: str | None = None
    """What of that was said."""
    work: dict[asyncio.Task[None], Entry] = field(default_factory=dict)
    last: float = field(default_factory=time.monotonic)

    def finished_one(self) -> None:
        now = time.monotonic()
        took, self.last = now - self.last, now
        self.pace = took if self.pace is None else 0.8 * self.pace + 0.2 * took
