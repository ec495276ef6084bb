"""Writes category files: new ones, two merged, categories added, some exported. Each appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from . import naming, weights
from .errors import ProductBackgroundError
from .vocabulary import (
    IDENTIFIERS,
    KEY_ENDS,
    KEY_ROWS,
    KEYS,
    KIND,
    RECORD_ENDS,
    RECORDS,
    Category,
    CategoryVocabulary,
    text_table,
)

MAX_NAME = 100  # characters
FORBIDDEN = ("{", "}", "embedding:")
"""Would be read as something else inside a prompt."""


def write_vocabulary(
    path: str | os.PathLike[str],
    categories: Sequence[Category],
    identifiers: Tensor,
    *,
    base: str,
    config: Mapping[str, Any] | None = None,
    training: Mapping[str, Any],
) -> CategoryVocabulary:
    """Write a category file and open it.

    `identifiers` [categories, vectors, width], any float dtype, in the order of `categories`; the file's own order is
    by name. `base` is the model family that they fit. `config` may hold what the trainer wants to keep of its settings;
    the numbers of vectors and the width are added to it. Raises ProductBackgroundError for names that are empty, double
    or unusable in a prompt, and for identifiers of another shape or with values that aren't finite.
    """
    if identifiers.ndim != 3 or len(identifiers) != len(categories) or not identifiers.is_floating_point():
        raise ProductBackgroundError(
            f"Bad identifiers. Expected floats of shape [{len(categories)}, vectors, width], one for each category, "
            f"got {identifiers.dtype} of shape {list(identifiers.shape)}."
        )
    if not categories or 0 in identifiers.shape:
        raise ProductBackgroundError("A category file holds at least one category with at least one vector.")
    if not bool(identifiers.isfinite().all()):
        broken = [c.name for c, i in zip(categories, identifiers, strict=True) if not bool(i.isfinite().all())]
        raise ProductBackgroundError(f"The identifiers of {', '.join(broken[:5])} hold values that are not finite.")
    known_as = [_checked_keys(category) for category in categories]
    _check_doubles(categories, [keys[0] for keys in known_as])
    order = sorted(range(len(categories)), key=lambda i: known_as[i][0])
    # code points sort as their UTF-8 bytes do
    keys = sorted({(key, row) for row, i in enumerate(order) for key in known_as[i]})
    records, record_ends = text_table([categories[i].to_json() for i in order])
    key_bytes, key_ends = text_table([f"{key} " for key, _ in keys])
    tensors = {
        IDENTIFIERS: identifiers.detach().cpu()[order],
        RECORDS: records,
        RECORD_ENDS: record_ends,
        KEYS: key_bytes,
        KEY_ENDS: key_ends,
        KEY_ROWS: torch.tensor([row for _, row in keys], dtype=torch.int32),
    }
    shape = {"vectors": identifiers.shape[1], "width": identifiers.shape[2]}
    weights.save(path, tensors, kind=KIND, base=base, config={**(config or {}), **shape}, training=training)
    return CategoryVocabulary.open(path)


def read_all(vocabulary: CategoryVocabulary) -> tuple[list[Category], Tensor]:
    """All records and identifiers [categories, vectors, width] in the file's own dtype: for writing, not for use."""
    with safe_open(vocabulary.path, framework="pt") as file:
        identifiers = file.get_tensor(IDENTIFIERS)
    return vocabulary.categories(), identifiers


def merge(
    first: CategoryVocabulary, second: CategoryVocabulary, path: str | os.PathLike[str], *, prefer: str | None = None
) -> CategoryVocabulary:
    """Write the categories of both files to `path`, which may be one of them.

    Bases, numbers of vectors and widths must agree. A category that both hold must be the same in both, unless `prefer`
    ("first" or "second") says whose to take. `training` keeps what both files said.
    """
    if prefer not in (None, "first", "second"):
        raise ProductBackgroundError(f"Bad prefer: {prefer!r}. Expected 'first', 'second' or None.")
    _check_fit(first, second)
    (ours, our_vectors), (theirs, their_vectors) = read_all(first), read_all(second)
    places = {naming.key_of(category.name): place for place, category in enumerate(ours)}
    doubles = {i: places[key] for i, c in enumerate(theirs) if (key := naming.key_of(c.name)) in places}
    differing = [
        theirs[i].name
        for i, place in doubles.items()
        if theirs[i] != ours[place] or not torch.equal(their_vectors[i].float(), our_vectors[place].float())
    ]
    if differing and prefer is None:
        raise ProductBackgroundError(
            f"{first.path.name} and {second.path.name} both hold {', '.join(differing[:5])}"
            f"{' and more' if len(differing) > 5 else ''}, with other identifiers or records. Say whose to take: "
            "prefer 'first' or 'second' (--prefer on the command line)."
        )
    keep_ours = [i for i in range(len(ours)) if prefer != "second" or i not in doubles.values()]
    keep_theirs = [i for i in range(len(theirs)) if prefer == "second" or i not in doubles]
    # the wider dtype: nothing is lost
    dtype = torch.promote_types(our_vectors.dtype, their_vectors.dtype)
    return write_vocabulary(
        path,
        [ours[i] for i in keep_ours] + [theirs[i] for i in keep_theirs],
        torch.cat([our_vectors[keep_ours].to(dtype), their_vectors[keep_theirs].to(dtype)]),
        base=first.base,
        config=first.header.config,
        training={"merged": [_origin(first, len(keep_ours)), _origin(second, len(keep_theirs))]},
    )


def add_categories(
    vocabulary: CategoryVocabulary,
    categories: Sequence[Category],
    identifiers: Tensor,
    path: str | os.PathLike[str],
    *,
    training: Mapping[str, Any],
    replace: bool = False,
) -> CategoryVocabulary:
    """Write the file again with new `categories` [n, vectors, width]; those it has stay bit for bit as they are.

    One of the same name is refused, or replaced with `replace`.
    """
    known, vectors = read_all(vocabulary)
    if identifiers.shape[1:] != vectors.shape[1:]:
        raise ProductBackgroundError(
            f"Bad identifiers for {vocabulary.path.name}. Expected shape [n, {vectors.shape[1]}, {vectors.shape[2]}], "
            f"got {list(identifiers.shape)}."
        )
    new = {naming.key_of(category.name) for category in categories}
    keep = [i for i, category in enumerate(known) if naming.key_of(category.name) not in new]
    if len(keep) < len(known) and not replace:
        doubles = [category.name for category in known if naming.key_of(category.name) in new]
        raise ProductBackgroundError(
            f"{vocabulary.path.name} already has {', '.join(doubles[:5])}. Use other names, or replace them."
        )
    dtype = torch.promote_types(vectors.dtype, identifiers.dtype)
    added = {"categories": len(categories), "training": dict(training)}
    return write_vocabulary(
        path,
        [known[i] for i in keep] + list(categories),
        torch.cat([vectors[keep].to(dtype), identifiers.detach().cpu().to(dtype)]),
        base=vocabulary.base,
        config=vocabulary.header.config,
        training={"merged": [_origin(vocabulary, len(keep)), added]},
    )


def export(vocabulary: CategoryVocabulary, names: Iterable[str], path: str | os.PathLike[str]) -> CategoryVocabulary:
    """Write only the categories called `names` (names or aliases) to a file of their own."""
    rows = sorted({vocabulary.find(name).row for name in names})
    with safe_open(vocabulary.path, framework="pt") as file:
        identifiers = file.get_slice(IDENTIFIERS)
        chosen = torch.stack([identifiers[row] for row in rows]) if rows else torch.zeros(0, 1, 1)
    return write_vocabulary(
        path,
        [vocabulary.category(row) for row in rows],
        chosen,
        base=vocabulary.base,
        config=vocabulary.header.config,
        training=vocabulary.header.training,
    )


def _origin(vocabulary: CategoryVocabulary, count: int) -> dict[str, Any]:
    return {"categories": count, "training": vocabulary.header.training}


def _checked_keys(category: Category) -> list[str]:
    """The keys of its name, its phrase and its aliases, in this order."""
    keys = []
    for text in (category.name, *([category.phrase] if category.phrase else []), *category.aliases):
        keys.append(naming.key_of(text))
        if reason := _why_unusable(text, keys[-1]):
            raise ProductBackgroundError(f"Bad name {text!r} of the category {category.name!r}: {reason}.")
    return keys


def _why_unusable(text: str, key: str) -> str:
    if not key:
        return "it holds no letter or digit"
    if len(text) > MAX_NAME:
        return f"it has {len(text)} characters, more than {MAX_NAME}"
    if not text.isprintable() or text != text.strip():
        return "it begins or ends with a space, or holds a line break or another control character"
    found = [part for part in FORBIDDEN if part in text.casefold()]
    return f"it holds {found[0]!r}, which means something else in a prompt" if found else ""


def _check_doubles(categories: Sequence[Category], keys: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for category, key in zip(categories, keys, strict=True):
        if key in seen:
            raise ProductBackgroundError(
                f"Two categories have the same name: {seen[key]!r} and {category.name!r} (case, plural and "
                "punctuation don't count). Rename one of them."
            )
        seen[key] = category.name


def _check_fit(first: CategoryVocabulary, second: CategoryVocabulary) -> None:
    for what, one, other in (
        ("base", first.base, second.base),
        ("number of vectors", first.vectors, second.vectors),
        ("width", first.width, second.width),
        ("LoRA", first.header.config.get("lora"), second.header.config.get("lora")),
    ):
        if one != other:
            raise ProductBackgroundError(
                f"{first.path.name} and {second.path.name} can't be merged. Their {what} differs: {one!r} and "
                f"{other!r}. A file holds identifiers of one base, with equally many vectors each, and of one LoRA if "
                "they were trained with any."
            )
