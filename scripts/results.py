"""The folder that a run leaves: pictures, masks, contact sheets, and report.json, which lists them all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalogue.protocol import ComfyError

from .contact_sheet import SheetRow, save_contact_sheets

REPORT = "report.json"
MASKS = "masks"
RUN = ".run"
"""What the catalogue's runner keeps while it works."""


@dataclass
class Results:
    """What was made so far. Paths in the report are relative to its folder."""

    folder: Path
    about: dict[str, str]
    """ComfyUI's version and the machine, as the report states them."""
    pictures: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    """The reason for each photograph without a picture."""
    contact_sheets: list[str] = field(default_factory=list)

    def write(self) -> None:
        """Write report.json in one step: a reader sees the old one or the whole new one."""
        report = {
            "pictures": self.pictures,
            **self.about,
            "failures": self.failures,
            "contact_sheets": self.contact_sheets,
            "note": "seconds are those that the server worked on a picture; the first includes loading the models",
        }
        temporary = self.folder / f".{REPORT}.tmp"
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, self.folder / REPORT)

    def write_contact_sheets(self) -> None:
        rows = [SheetRow.from_report(entry, self.folder) for entry in self.pictures]
        self.contact_sheets = save_contact_sheets(rows, self.folder)
        self.write()


def check_folder(out: Path, photos: Path) -> list[Path]:
    """Whether results may go to `out`; returns what must be removed for them: the files of our own last run."""
    there, source = out.resolve(), photos.resolve()
    if there.is_relative_to(source) or source.is_relative_to(there):
        raise ComfyError(f"The results can't go to {out}: one of it and the photographs' {photos} lies in the other.")
    if there.exists() and not there.is_dir():
        raise ComfyError(f"The results can't go to {out}: that is no folder.")
    if there.is_dir() and any(there.iterdir()):
        return [there / name for name in _files_of_last_run(there)]
    return []


def prepare_folder(out: Path, photos: Path) -> None:
    for path in check_folder(out, photos):
        path.unlink(missing_ok=True)
    shutil.rmtree(out / RUN, ignore_errors=True)
    with contextlib.suppress(OSError):  # not there, or not empty
        (out / MASKS).rmdir()
    out.mkdir(parents=True, exist_ok=True)


def _files_of_last_run(folder: Path) -> list[str]:
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        names = [name for entry in report["pictures"] for name in (entry["file"], entry["mask"])]
        names += report.get("contact_sheets", [])
        inside = [name for name in names if _is_file_of(folder, name)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ComfyError(
            f"{folder} is not empty and holds no {REPORT} of an earlier run, so that its files may be yours. "
            "Name another folder for the results, or empty it."
        ) from error
    return [*inside, REPORT]


def _is_file_of(folder: Path, name: str) -> bool:
    path = (folder / name).resolve()
    return path.is_file() and path.is_relative_to(folder)
