"""Painted pictures are kept on disk, batch by batch, so that a measurement that was stopped goes on where it was.

Only what is painted between `with keeping(folder)` is; elsewhere nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from bg_core.files import replacing

from .stamps import digest_of

PAINTED = Path("runs/painted")
"""Where commands keep what they paint, unless they are told."""

_FOLDER: ContextVar[Path | None] = ContextVar("folder of painted pictures", default=None)


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Whatever `remembered` is given inside is kept in `folder`, which is made where it's missing."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def remembered(
    work: Callable[[int], Tensor], shared: Callable[[], Iterable[object]], own: Callable[[int], Iterable[object]]
) -> Callable[[int], Tensor]:
    """`work`, its results read from files where the same was done before.

    `shared` gives what decides all results, `own` what decides that of the batch beginning at a row, as `digest_of`
    takes it. So a list that grew paints only what is new. They can't give the code: whoever changes the sampler removes
    the folder.
    """
    folder = _FOLDER.get()
    if folder is None:
        return work
    digest = digest_of(shared())

    def kept(start: int) -> Tensor:
        file = folder / f"{digest_of([digest, start, *own(start)])}.safetensors"
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(file) as temporary:
                save_file({"pictures": work(start).contiguous()}, temporary)
        return load_file(file)["pictures"]

    return kept
