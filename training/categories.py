"""Looks into category files, merges them, and takes categories out.

    python -m training.categories list FILE [--scenes]
    python -m training.categories find FILE "stoneware tea cup" ...
    python -m training.categories merge FIRST SECOND --out FILE [--prefer first|second]
    python -m training.categories export FILE NAME ... --out FILE

`--out` may be a file that is read: it is replaced in one step. Categories are added by training.add_category.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bg_core.errors import ProductBackgroundError
from bg_core.vocabulary import CategoryVocabulary, UnknownCategory
from bg_core.vocabulary_files import export, merge


def show(vocabulary: CategoryVocabulary, scenes: bool) -> None:
    print(
        f"{vocabulary.path}: {len(vocabulary)} categories of {vocabulary.vectors} vectors, {vocabulary.width} wide, "
        f"for {vocabulary.base}"
    )
    print(f"training: {json.dumps(vocabulary.header.training)}")
    for category in vocabulary.categories():
        print("\t".join([category.name, ", ".join(category.aliases), *([category.scene] if scenes else [])]))


def find(vocabulary: CategoryVocabulary, texts: Sequence[str]) -> bool:
    """Print what each text means; whether all mean something."""
    known = True
    for text in texts:
        try:
            print(f"{text}\t{vocabulary.find(text).explain(text)}")
        except UnknownCategory as error:
            print(f"{text}\t-\t{error}")
            known = False
    return known


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    listing = commands.add_parser("list", help="names and aliases of a file's categories")
    listing.add_argument("file", type=Path)
    listing.add_argument("--scenes", action="store_true", help="their described scenes, too")
    finding = commands.add_parser("find", help="the category that a free text means")
    finding.add_argument("file", type=Path)
    finding.add_argument("texts", nargs="+", metavar="TEXT")
    merging = commands.add_parser("merge", help="the categories of two files in one")
    merging.add_argument("first", type=Path)
    merging.add_argument("second", type=Path)
    merging.add_argument("--out", type=Path, required=True)
    merging.add_argument("--prefer", choices=["first", "second"], help="whose to take where both hold a category")
    exporting = commands.add_parser("export", help="some categories in a file of their own")
    exporting.add_argument("file", type=Path)
    exporting.add_argument("names", nargs="+", metavar="NAME")
    exporting.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        if options.command == "list":
            show(CategoryVocabulary.open(options.file), options.scenes)
        elif options.command == "find":
            return 0 if find(CategoryVocabulary.open(options.file), options.texts) else 1
        elif options.command == "merge":
            first, second = CategoryVocabulary.open(options.first), CategoryVocabulary.open(options.second)
            show(merge(first, second, options.out, prefer=options.prefer), False)
        else:
            show(export(CategoryVocabulary.open(options.file), options.names, options.out), False)
    except ProductBackgroundError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
