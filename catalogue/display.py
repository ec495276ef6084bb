"""What a run shows: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

EVERY = 15.0
"""Seconds between two lines where there is no terminal."""


class RunDisplay:
    """Bar with rate, estimate and failures. The rate counts what this run did, not what it found done."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._began: tuple[float, int] | None = None
        self._last, self._said = 0.0, ""
        if console.is_terminal:
            columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
            self._bar = Progress(*columns, console=console)

    def __enter__(self) -> RunDisplay:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, counts: Mapping[str, int], servers: int) -> None:
        now, total = time.monotonic(), sum(counts.values())
        lost = counts["failed"] + counts["refused"] + counts["bad"]
        ended = counts["done"] + lost
        if self._began is None:
            self._began = now, ended
        rate = (ended - self._began[1]) / max(now - self._began[0], 1e-9)
        parts = [f"{servers} server{'s' * (servers != 1)}", f"{lost} failed"]
        if rate > 0:
            parts.insert(0, f"{rate * 60:.1f} a minute")
            if ended < total:
                parts.append(f"{span((total - ended) / rate)} left")
        text = ", ".join(parts)
        if self._bar:
            if self._task is None:
                self._task = self._bar.add_task("", total=total)
            self._bar.update(self._task, total=total, completed=ended, description=text)
        elif now - self._last >= EVERY or (ended == total and self._said != f"{ended} of {total}"):
            self._last, self._said = now, f"{ended} of {total}"
            self.say(f"{ended} of {total}, {text}")


def span(seconds: float) -> str:
    """Seconds as 45 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
