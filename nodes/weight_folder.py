"""A model folder of ComfyUI that is the pack's own: where its files lie, which are ours, what is wrong with others."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import folder_paths

from ..bg_core.errors import ProductBackgroundError

Opened = TypeVar("Opened")
MODELS = Path(__file__).resolve().parent.parent / "models"


class WeightFolder(Generic[Opened]):
    """The folder `kind`; `read` opens a file by its path and raises ProductBackgroundError for what is none.

    `what` the files are called in messages, and the command that `trains` one.
    """

    def __init__(self, kind: str, read: Callable[[str], Opened], what: str, trains: str) -> None:
        self.kind, self.read, self.what, self.trains = kind, read, what, trains
        self.bundled = MODELS / kind
        self._ours: dict[tuple[str, int, int], bool] = {}  # (path, size, time of change) -> whether it is ours

    def register(self) -> None:
        """Add ComfyUI's own folder and the pack's to those of this kind; what others have added stays."""
        for folder in (os.path.join(folder_paths.models_dir, self.kind), str(self.bundled)):
            folder_paths.add_model_folder_path(self.kind, folder)
        extensions = folder_paths.folder_names_and_paths[self.kind][1]
        if not extensions and isinstance(extensions, set):
            extensions.add(".safetensors")  # none at all would list every file

    def files(self) -> list[str]:
        """The names of the files that can be loaded; others in these folders are left out."""
        return [name for name in folder_paths.get_filename_list(self.kind) if self._is_ours(name)]

    def stamp(self, name: str) -> tuple[str, int, int]:
        """Path, size and time of change: another file has another stamp."""
        path = folder_paths.get_full_path(self.kind, name) or ""
        facts = os.stat(path)
        return path, facts.st_size, facts.st_mtime_ns

    def open(self, name: str) -> Opened:
        """Open a file by the name that the folder lists.

        Raises ProductBackgroundError that says what was found instead, and where it was looked for.
        """
        searched = ", ".join(folder_paths.get_folder_paths(self.kind))
        # Only listed names: no path outside is ever read.
        if name not in folder_paths.get_filename_list(self.kind):
            found = ", ".join(self.files()) or "none"
            raise ProductBackgroundError(
                f"There is no {self.what} '{name}'. Searched: {searched}. {self.what.capitalize()}s there: {found}. "
                f"Put the file into one of these folders, or train one ({self.trains})."
            )
        path = folder_paths.get_full_path(self.kind, name)
        try:
            return self.read(str(path))
        except ProductBackgroundError as error:
            raise ProductBackgroundError(f"{error} It was found in the folders {searched}.") from None

    def verdict(self, name: Any) -> bool | str:
        """What a node's `validate_inputs` answers: True, or what is wrong with the file."""
        if not isinstance(name, str):
            return True  # over a link: known only when the graph runs
        try:
            self.open(name)
        except ProductBackgroundError as error:
            return str(error)
        return True

    def fingerprint(self, name: Any) -> str | float:
        """What a node's `fingerprint_inputs` answers: it changes with the file, and always where there is none."""
        try:
            return str(self.stamp(name))
        except (OSError, TypeError, AttributeError):
            return math.nan

    def _is_ours(self, name: str) -> bool:
        try:
            stamp = self.stamp(name)
            if stamp not in self._ours:
                self._ours[stamp] = self._opens(stamp[0])
            return self._ours[stamp]
        except OSError:  # gone since the folder was listed
            return False

    def _opens(self, path: str) -> bool:
        try:
            self.read(path)
        except ProductBackgroundError:
            return False
        return True
