"""ComfyUI's model folder `category_weights`: where its files lie, which are ours, and what is wrong with others."""

from __future__ import annotations

import os
from pathlib import Path

import folder_paths

from ..bg_core.errors import ProductBackgroundError
from ..bg_core.vocabulary import CategoryVocabulary

KIND = "category_weights"
BUNDLED = Path(__file__).resolve().parent.parent / "models" / KIND

_ours: dict[tuple[str, int, int], bool] = {}  # (path, size, time of change) -> whether it is a category file


def register_category_weights() -> None:
    """Add ComfyUI's own folder and the pack's to those of this kind; what others have added stays."""
    for folder in (os.path.join(folder_paths.models_dir, KIND), str(BUNDLED)):
        folder_paths.add_model_folder_path(KIND, folder)
    extensions = folder_paths.folder_names_and_paths[KIND][1]
    if not extensions and isinstance(extensions, set):
        extensions.add(".safetensors")  # none at all would list every file


def category_files() -> list[str]:
    """The names of the files that can be loaded; others in these folders are left out."""
    return [name for name in folder_paths.get_filename_list(KIND) if _is_ours(name)]


def stamp_of(name: str) -> tuple[str, int, int]:
    """Path, size and time of change: another file has another stamp."""
    path = folder_paths.get_full_path(KIND, name) or ""
    facts = os.stat(path)
    return path, facts.st_size, facts.st_mtime_ns


def open_category_file(name: str) -> CategoryVocabulary:
    """Open a file by the name that the folder lists.

    Raises ProductBackgroundError that says what was found instead, and where it was looked for.
    """
    searched = ", ".join(folder_paths.get_folder_paths(KIND))
    # Only listed names: no path outside is ever read.
    if name not in folder_paths.get_filename_list(KIND):
        found = ", ".join(category_files()) or "none"
        raise ProductBackgroundError(
            f"There is no category file '{name}'. Searched: {searched}. Category files there: {found}. Put the file "
            "into one of these folders, or train one (python -m training.train_category)."
        )
    path = folder_paths.get_full_path(KIND, name)
    try:
        return CategoryVocabulary.open(str(path))
    except ProductBackgroundError as error:
        raise ProductBackgroundError(f"{error} It was found in the folders {searched}.") from None


def _is_ours(name: str) -> bool:
    try:
        stamp = stamp_of(name)
        if stamp not in _ours:
            _ours[stamp] = _opens(stamp[0])
        return _ours[stamp]
    except OSError:  # gone since the folder was listed
        return False


def _opens(path: str) -> bool:
    try:
        CategoryVocabulary.open(path)
    except ProductBackgroundError:
        return False
    return True
