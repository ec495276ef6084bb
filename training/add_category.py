"""`python -m training.add_category --weights FILE --data DIR --name NAME`: a new category from 8 or more pictures.

DIR holds the pictures, and in `masks/` beside them a PNG of each one's name, white on the product; or a data set in
another layout that the trainers read (docs/data.md). Only the new identifier is learned: the categories that FILE holds
stay bit for bit as they are.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from bg_core import naming
from bg_core.errors import ProductBackgroundError
from bg_core.vocabulary import Category, CategoryVocabulary
from bg_core.vocabulary_files import add_categories

from .category.plan import Plan
from .category.scenes import Example, words_of
from .data import Record, read_folder, read_records
from .export_run import BUNDLED, commit
from .latents import kept_latents
from .lora import load_lora, lora_beside
from .painters import load_painter
from .settings import Settings
from .train_category import Lesson, teach

CONFIG = Path(__file__).parent / "configs" / "add_category.toml"
FEWEST = 8


def read_new(folder: Path, name: str) -> list[Record]:
    """The new category's pictures, in any layout; of a data set with several categories, those called `name`."""
    if any(folder.glob("*.csv")) or any(folder.glob("*_info.txt")):
        records = [r for r in read_records(folder) if naming.key_of(r.category) == naming.key_of(name)]
    else:
        records = read_folder(folder, name)
    if len(records) < FEWEST:
        raise ProductBackgroundError(
            f"{folder} has {len(records)} pictures of {name!r}. Expected {FEWEST} or more: what they have in common is "
            "what the identifier learns."
        )
    return records


def learn(
    base: Path, weights: Path, records: Sequence[Record], category: Category, settings: Settings, plan: Plan, run: Path
) -> torch.Tensor:
    """The identifier [vectors,width] of `category`, learned beside what the category file `weights` holds."""
    vocabulary = CategoryVocabulary.open(weights)
    painter = load_painter(base)
    if vocabulary.base != painter.family:
        raise ProductBackgroundError(
            f"{weights} fits the base {vocabulary.base!r}; {base} is of the family {painter.family!r}. Give the base "
            "that the file was trained on with --base."
        )
    if name := vocabulary.header.config.get("lora"):
        load_lora(painter.unet, lora_beside(weights, name), painter.family)
    painter.place(torch.device("cuda" if torch.cuda.is_available() else "cpu"), plan.precision)
    latents = kept_latents(painter.coder, records, plan.side, plan.views, run / "latents", mirror=False)
    # a product that its file names otherwise is called what the category is called
    examples = [
        Example(r, category.name, words_of(r) if r.factors.get("product_word") else category.words) for r in records
    ]
    lesson = Lesson(examples, latents, [category])
    return teach(painter, lesson, settings, plan, run, {"data": "own pictures"}).identifiers.all()[0]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.add_category", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="category file that the new one joins")
    parser.add_argument("--data", type=Path, required=True, help="folder of its pictures")
    parser.add_argument("--name", required=True)
    parser.add_argument("--phrase", default="", help="what stands for it in prompts, as 'a garden gnome'; the name")
    parser.add_argument("--alias", action="append", default=[], help="another name to find it by; may be repeated")
    parser.add_argument("--scene", default="", help="a typical background in words")
    parser.add_argument("--base", type=Path, default=BUNDLED, help="model the file was trained on")
    parser.add_argument("--out", type=Path, help="file to write (the file itself)")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--replace", action="store_true", help="learn a category anew that the file already has")
    options = parser.parse_args(arguments)
    vocabulary = CategoryVocabulary.open(options.weights)
    category = Category(options.name, options.phrase, tuple(options.alias), options.scene)
    known = {naming.key_of(name) for name in vocabulary.names()}
    if naming.key_of(category.name) in known and not options.replace:  # before minutes of training
        raise ProductBackgroundError(
            f"{options.weights.name} already has {category.name}. Use another name, or replace it (--replace)."
        )
    records = read_new(options.data, category.name)
    settings = Settings.read(options.config)
    plan = Plan.of({**settings.options, "vectors": vocabulary.vectors}, str(options.config))
    with tempfile.TemporaryDirectory() as folder:
        identifier = learn(options.base, options.weights, records, category, settings, plan, Path(folder))
    training = {
        "data": options.data.name, "pictures": len(records), "steps": settings.steps, "seed": settings.seed,
        "commit": commit(), "torch": torch.__version__,
    }  # fmt: skip
    written = add_categories(
        vocabulary, [category], identifier[None], options.out or options.weights, training=training,
        replace=options.replace,
    )  # fmt: skip
    print(f"{written.path}: {len(written)} categories, {category.name} learned from {len(records)} pictures")


if __name__ == "__main__":
    main()
