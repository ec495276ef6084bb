"""Category files: written, read by slice, looked up, merged; and as quick with 100,000 categories as with ten."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from bg_core import naming, weights
from bg_core.errors import ProductBackgroundError
from bg_core.vocabulary import KIND, Category, CategoryVocabulary, UnknownCategory
from bg_core.vocabulary_files import add_categories, export, merge, write_vocabulary
from training.vocabulary import studio_categories

BASE = "product-background-demo"
PHRASES = Path(__file__).parent / "tables" / "phrases.csv"
MUG = Category("mug", "a mug", ("cup", "coffee mug"), "an oak table", {"images": 64})
WINE = Category("wine", "wine", ("bottle of wine",))
TEA = Category("tea", "", ("tea caddy",))

Write = Callable[..., CategoryVocabulary]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, *categories: Category, base: str = BASE, seed: int = 0, vectors: int = 3, width: int = 8,
                **more: Any):  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        identifiers = torch.randn(len(categories), vectors, width, generator=generator)
        return write_vocabulary(tmp_path / name, categories, identifiers, base=base, training={"seed": seed}, **more)

    return written


def test_what_was_written_comes_back(write: Write) -> None:
    vocabulary = write("a.safetensors", WINE, MUG, TEA)
    again = CategoryVocabulary.open(vocabulary.path)
    assert (len(again), again.vectors, again.width, again.base) == (3, 3, 8, BASE)
    assert again.names() == ["mug", "tea", "wine"] and again.names(1, 2) == ["tea"]
    assert again.category(0) == MUG and again.category(2) == WINE
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(again.identifier(0), torch.randn(3, 3, 8, generator=generator)[1])
    assert again.header.kind == KIND and again.header.training == {"seed": 0}
    assert again.header.config == {"vectors": 3, "width": 8}
    assert TEA.words == "tea" and MUG.words == "a mug"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_identifiers_are_read_as_float32_from_any_float(tmp_path: Path, dtype: torch.dtype) -> None:
    identifiers = torch.randn(1, 2, 4).to(dtype)
    vocabulary = write_vocabulary(tmp_path / "a.safetensors", [MUG], identifiers, base=BASE, training={})
    assert vocabulary.identifier(0).dtype == torch.float32
    assert torch.equal(vocabulary.identifier(0), identifiers[0].float())


@pytest.mark.parametrize(
    ("text", "name", "how"),
    [
        ("mug", "mug", "name"),
        ("Mugs", "mug", "name"),
        ("COFFEE-MUG", "mug", "alias"),
        ("stoneware tea cup", "mug", "head noun"),
        ("a tea-cup, 250 ml", "mug", "head noun"),
        ("teacups", "mug", "compound"),
        ("bottle of red wine from Spain", "wine", "head noun"),
        ("red wine bottle", "wine", "packaging"),
        ("tea cady", "tea", "spelling"),
    ],
)
def test_rules(write: Write, text: str, name: str, how: str) -> None:
    match = write("a.safetensors", MUG, WINE, TEA).find(text)
    assert (match.category.name, match.how) == (name, how)
    assert name in match.explain(text) and (how == "name" or text in match.explain(text))


@pytest.mark.parametrize(
    "text", ["wine glass", "tea towel", "mug tree", "marzipan", "twine", "", "!?", "5 kg", "bottle"]
)
def test_nothing_near_is_said(write: Write, text: str) -> None:
    vocabulary = write("a.safetensors", MUG, WINE, TEA, Category("pan"))
    with pytest.raises(UnknownCategory, match=r"a\.safetensors"):
        vocabulary.find(text)


def test_refusal_names_what_is_spelled_alike(write: Write) -> None:
    with pytest.raises(UnknownCategory, match=r"No category of a\.safetensors is near 'wines glass'.*wine") as refusal:
        write("a.safetensors", MUG, WINE, TEA).find("wines glass")
    assert refusal.value.suggestions[0] == "wine"


def test_an_alias_of_two_categories_is_not_guessed(write: Write) -> None:
    vocabulary = write("a.safetensors", Category("sauce", aliases=("bottle",)), Category("soap", aliases=("bottle",)))
    with pytest.raises(UnknownCategory, match=r"several.*sauce, soap") as refusal:
        vocabulary.find("glass bottle")
    assert refusal.value.suggestions == ("sauce", "soap")
    named = write("b.safetensors", Category("bottle"), Category("soap", aliases=("bottle",)))
    assert named.find("bottle").category.name == "bottle"


def reached(half: str, tmp_path: Path) -> tuple[int, int]:
    """How many of the 33 near phrases are answered right, and how many of the 17 far ones are refused."""
    categories = studio_categories()
    identifiers = torch.zeros(len(categories), 1, 4)
    vocabulary = write_vocabulary(tmp_path / "a.safetensors", categories, identifiers, base=BASE, training={})
    right: dict[bool, list[bool]] = {True: [], False: []}
    with PHRASES.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["half"] == half:
                try:
                    answer = vocabulary.find(row["phrase"]).category.name
                except UnknownCategory:
                    answer = ""
                right[bool(row["category"])].append(answer == row["category"])
    assert len(right[True]) == 33 and len(right[False]) == 17
    return sum(right[True]), sum(right[False])


@pytest.mark.parametrize(("half", "near"), [("tune", 33), ("final", 32)])
def test_a_hundred_phrases(half: str, near: int, tmp_path: Path) -> None:
    """The rules were made on one half (all right); on the other, looked at once, 32 of 33 and 17 of 17 were right.

    docs/categories.md says so.
    """
    right, refused = reached(half, tmp_path)
    assert right >= near and refused == 17


def test_merge_keeps_all_in_any_order(write: Write, tmp_path: Path) -> None:
    one, other = write("a.safetensors", MUG, WINE), write("b.safetensors", TEA, seed=1)
    both, back = merge(one, other, tmp_path / "c.safetensors"), merge(other, one, tmp_path / "d.safetensors")
    assert both.names() == back.names() == ["mug", "tea", "wine"]
    for vocabulary in (both, back):
        assert torch.equal(vocabulary.identifier(1), other.identifier(0))
        assert torch.equal(vocabulary.identifier(2), one.identifier(1))
    assert [part["training"]["seed"] for part in both.header.training["merged"]] == [0, 1]
    assert both.find("cup").category == MUG


def test_merge_of_the_same_category(write: Write, tmp_path: Path) -> None:
    one, other = write("a.safetensors", MUG, WINE), write("b.safetensors", Category("Mugs"), seed=1)
    out = tmp_path / "c.safetensors"
    with pytest.raises(ProductBackgroundError, match=r"both hold Mugs.*--prefer"):
        merge(one, other, out)
    assert not out.exists()
    first = merge(one, other, out, prefer="first")
    assert first.names() == ["mug", "wine"] and torch.equal(first.identifier(0), one.identifier(0))
    second = merge(one, other, out, prefer="second")
    assert second.names() == ["Mugs", "wine"] and torch.equal(second.identifier(0), other.identifier(0))
    assert merge(one, one, one.path).names() == ["mug", "wine"], "the same in both; into the file itself"


@pytest.mark.parametrize("other", [{"base": "sd15"}, {"vectors": 4}, {"width": 16}, {"config": {"lora": "x"}}])
def test_merge_of_what_does_not_fit(write: Write, tmp_path: Path, other: dict[str, object]) -> None:
    with pytest.raises(ProductBackgroundError, match=r"can't be merged.*differs"):
        merge(write("a.safetensors", MUG), write("b.safetensors", TEA, **other), tmp_path / "c.safetensors")


def test_adding_changes_no_other_category(write: Write, tmp_path: Path) -> None:
    before = write("a.safetensors", MUG, WINE)
    known = [before.identifier(0), before.identifier(1)]
    new = torch.randn(1, 3, 8)
    after = add_categories(before, [TEA], new, before.path, training={"seed": 5})
    assert after.names() == ["mug", "tea", "wine"]
    assert torch.equal(after.identifier(0), known[0]) and torch.equal(after.identifier(2), known[1])
    assert torch.equal(after.identifier(1), new[0])
    with pytest.raises(ProductBackgroundError, match=r"already has tea"):
        add_categories(after, [TEA], new, after.path, training={})
    replaced = add_categories(after, [TEA], new + 1, after.path, training={}, replace=True)
    assert torch.equal(replaced.identifier(1), new[0] + 1) and len(replaced) == 3
    with pytest.raises(ProductBackgroundError, match=r"\[n, 3, 8\], got \[1, 2, 8\]"):
        add_categories(after, [Category("new")], torch.zeros(1, 2, 8), after.path, training={})


def test_export(write: Write, tmp_path: Path) -> None:
    whole = write("a.safetensors", MUG, WINE, TEA)
    part = export(whole, ["cup", "tea"], tmp_path / "b.safetensors")
    assert part.names() == ["mug", "tea"] and torch.equal(part.identifier(1), whole.identifier(1))
    assert part.header.training == whole.header.training
    with pytest.raises(UnknownCategory):
        export(whole, ["sofa"], tmp_path / "c.safetensors")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no letter"),
        ("!!", "no letter"),
        ("a{b}", "means something else"),
        ("embedding:x", "means something else"),
        ("a\nb", "line break"),
        (" a", "space"),
        ("x" * 101, "101 characters"),
    ],
)
def test_unusable_names(write: Write, name: str, reason: str) -> None:
    with pytest.raises(ProductBackgroundError, match=reason):
        write("a.safetensors", Category(name))
    with pytest.raises(ProductBackgroundError, match=reason):
        write("a.safetensors", Category("fine", aliases=(name,)))


def test_double_names(write: Write) -> None:
    with pytest.raises(ProductBackgroundError, match=r"same name: 'mug' and 'Mugs'"):
        write("a.safetensors", MUG, Category("Mugs"))


def test_bad_identifiers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for bad in (torch.zeros(2, 1, 4), torch.zeros(1, 4), torch.zeros(1, 1, 4, dtype=torch.int32), torch.zeros(1, 0, 4)):
        with pytest.raises(ProductBackgroundError):
            write_vocabulary(path, [MUG], bad, base=BASE, training={})
    with pytest.raises(ProductBackgroundError, match="mug hold values"):
        write_vocabulary(path, [MUG], torch.full((1, 1, 4), float("nan")), base=BASE, training={})
    with pytest.raises(ProductBackgroundError, match="at least one"):
        write_vocabulary(path, [], torch.zeros(0, 1, 4), base=BASE, training={})
    assert not path.exists()


def damage(path: Path, **changes: torch.Tensor) -> Path:
    header = weights.read_header(path)
    tensors = safetensors.torch.load_file(path) | changes
    weights.save(path, tensors, kind=header.kind, base=header.base, config=header.config, training=header.training)
    return path


def test_files_that_are_no_category_files_are_refused(write: Write, tmp_path: Path) -> None:
    good = write("a.safetensors", MUG, WINE).path
    with pytest.raises(ProductBackgroundError, match="No weight file"):
        CategoryVocabulary.open(tmp_path / "lost.safetensors")
    other = weights.save(tmp_path / "b.safetensors", {}, kind="style", base=BASE, config={}, training={})
    with pytest.raises(ProductBackgroundError, match=r"kind 'style'\. Expected 'category'"):
        CategoryVocabulary.open(other)
    with pytest.raises(ProductBackgroundError, match="record_ends"):
        CategoryVocabulary.open(damage(good, record_ends=torch.zeros(1, dtype=torch.int64)))


def test_damage_inside_is_named_when_it_is_met(write: Write) -> None:
    path = write("a.safetensors", MUG, WINE).path
    broken = CategoryVocabulary.open(damage(path, record_ends=torch.tensor([10, 10_000])))
    with pytest.raises(ProductBackgroundError, match="damaged"):
        broken.category(1)
    records = safetensors.torch.load_file(path)["records"]
    broken = CategoryVocabulary.open(damage(path, records=torch.full_like(records, 0xFF)))
    with pytest.raises(ProductBackgroundError, match="damaged"):
        broken.category(0)
    path.unlink()
    with pytest.raises(ProductBackgroundError, match="can't be read any more"):
        broken.category(0)
    with pytest.raises(ProductBackgroundError, match="categories 0 to 1, not 2"):
        broken.category(2)


def test_edit_distance() -> None:
    assert [naming.edit_distance(*pair) for pair in (("", "ab"), ("kettle", "kettel"), ("tea", "tin"))] == [2, 1, 2]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Files of ten and of 100,000 categories with an alias each."""
    paths = {}
    for count in (10, 100_000):
        names = [f"{'abcdefghij'[i % 10]}ware{i:x}x" for i in range(count)]
        categories = [Category(n, aliases=(f"box of {n}",), scene="a wooden table") for n in names]
        path = tmp_path_factory.mktemp("large") / f"{count}.safetensors"
        identifiers = torch.zeros(count, 4, 128, dtype=torch.float16)
        paths[count] = write_vocabulary(path, categories, identifiers, base=BASE, training={}).path
    return paths


def quickest(work: Callable[[], object], times: int = 7) -> float:
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def memory_of_use(path: Path) -> float:
    """Bytes at the peak of a process that looks one category up and reads its identifier."""
    code = (
        "import resource, sys; from pathlib import Path; from bg_core.vocabulary import CategoryVocabulary; "
        "vocabulary = CategoryVocabulary.open(Path(sys.argv[1])); "
        "vectors = vocabulary.identifier(vocabulary.find('box of aware0x').row); assert vectors.shape == (4, 128); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    root = Path(__file__).resolve().parents[1]
    found = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=root, capture_output=True, text=True, check=True
    )
    return float(found.stdout)


def test_100_000_categories_open_as_fast_as_ten_and_hold_one_identifier(large: dict[int, Path]) -> None:
    def use(path: Path) -> None:
        vocabulary = CategoryVocabulary.open(path)
        match = vocabulary.find("box of aware0x")
        assert match.category.name == "aware0x" and vocabulary.identifier(match.row).shape == (4, 128)

    opening = {count: quickest(lambda path=path: CategoryVocabulary.open(path)) for count, path in large.items()}
    # Bound by the two headers, which are the same but for a few digits; the factor is for a busy machine.
    assert opening[100_000] < 3 * opening[10] + 0.001
    using = {count: quickest(lambda path=path: use(path)) for count, path in large.items()}
    assert using[100_000] < using[10] + 0.02  # a binary search over 200,000 keys
    # the tables have 15 MB, the identifiers 100 MB; pages that a process reads of a mapped file count, too
    assert memory_of_use(large[100_000]) < memory_of_use(large[10]) + 10e6


def test_free_text_among_100_000_takes_a_fraction_of_a_second(large: dict[int, Path]) -> None:
    vocabulary = CategoryVocabulary.open(large[100_000])
    assert quickest(lambda: vocabulary.find("hand-made bware1x"), 3) < 0.5
    with pytest.raises(UnknownCategory):
        vocabulary.find("leather sofa")
