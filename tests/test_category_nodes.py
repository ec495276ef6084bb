"""Load Category Weights and Category Conditioning in the host's own process, with random identifiers."""

from __future__ import annotations

import asyncio
import copy
import importlib
import importlib.util
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch

from bg_core import weights
from bg_core.marked_context import MarkedContext
from bg_core.vocabulary import Category, CategoryVocabulary
from bg_core.vocabulary_files import write_vocabulary

KEY = "product_background"
BASE = "product-background-demo"
CATEGORIES = [
    Category("mug", "a mug", ("cup",), "an oak table, soft light from the left"),
    Category("wine", "a wine", ("bottle of wine",), "a dark walnut table"),
    Category("sauce", "a bottle of sauce"),
]
TEXT = "a photo of {category}, in the background of {identifier}, soft light"


@pytest.fixture(scope="module")
def pack(comfyui: Path) -> SimpleNamespace:
    names = ("category", "category_files", "category_route", "text_encoder")
    return SimpleNamespace(**{name: importlib.import_module(f"product_background.nodes.{name}") for name in names})


@pytest.fixture
def folder(pack: SimpleNamespace, tmp_path: Path) -> Iterator[Path]:
    """The kind `category_weights` with one folder: a good file and three that aren't."""
    import folder_paths

    here = tmp_path / "models"
    good = write_vocabulary(here / "good.safetensors", CATEGORIES, torch.randn(3, 4, 128) * 0.1, base=BASE, training={})
    write_vocabulary(here / "wide.safetensors", CATEGORIES, torch.randn(3, 4, 768), base="sd15", training={})
    safetensors.torch.save_file({"w": torch.zeros(2)}, here / "foreign.safetensors")
    (here / "cut.safetensors").write_bytes(good.path.read_bytes()[:200])
    weights.save(here / "style.safetensors", {}, kind="style", base=BASE, config={}, training={})
    (here / "notes.txt").write_text("no weights")
    before = dict(folder_paths.folder_names_and_paths)
    folder_paths.folder_names_and_paths[pack.category_files.FOLDER.kind] = ([str(here)], {".safetensors"})
    yield here
    folder_paths.folder_names_and_paths.clear()
    folder_paths.folder_names_and_paths.update(before)


@pytest.fixture
def vocabulary(folder: Path) -> CategoryVocabulary:
    return CategoryVocabulary.open(folder / "good.safetensors")


@pytest.fixture
def condition(pack: SimpleNamespace, loaded: SimpleNamespace, vocabulary: CategoryVocabulary) -> Any:
    def conditioned(
        category: str = "mug", text: str = TEXT, strength: float = 1.0, described: bool = False, **other: Any
    ):
        given = {"clip": loaded.clip, "weights": vocabulary} | other
        return pack.category.CategoryConditioning.execute(
            given["clip"], given["weights"], category, text, strength, described
        )

    return conditioned


def text_of(loaded: SimpleNamespace, text: str) -> list[Any]:
    return loaded.clip.encode_from_tokens_scheduled(loaded.clip.tokenize(text))


def test_folders_are_added_and_nothing_is_taken_away(pack: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    import folder_paths

    files = pack.category_files
    monkeypatch.setitem(folder_paths.folder_names_and_paths, files.FOLDER.kind, (["/mine"], set()))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", (["/own"], {".safetensors"}))
    for _ in range(2):
        files.register()
    assert folder_paths.get_folder_paths("loras") == ["/own", str(files.LORAS)]
    folders, extensions = folder_paths.folder_names_and_paths[files.FOLDER.kind]
    assert folders == ["/mine", str(Path(folder_paths.models_dir) / files.FOLDER.kind), str(files.FOLDER.bundled)]
    assert extensions == {".safetensors"}


def test_only_category_files_are_listed(pack: SimpleNamespace, folder: Path) -> None:
    assert pack.category_files.FOLDER.files() == ["good.safetensors", "wide.safetensors"]
    (schema,) = pack.category.LoadCategoryWeights.define_schema().inputs
    assert schema.options == ["good.safetensors", "wide.safetensors"]
    (folder / "good.safetensors").write_bytes((folder / "style.safetensors").read_bytes())
    assert pack.category_files.FOLDER.files() == ["wide.safetensors"], "what a file holds now counts"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("lost.safetensors", r"no category file 'lost.*Category files there: good.safetensors, wide"),
        ("foreign.safetensors", "not a weight file of this pack"),
        ("cut.safetensors", "truncated"),
        ("style.safetensors", "kind 'style'"),
        ("../models/good.safetensors", "no category file"),
        ("notes.txt", "no category file"),
    ],
)
def test_bad_files_are_refused_with_what_was_found_and_where(
    pack: SimpleNamespace, folder: Path, name: str, found: str
) -> None:
    with pytest.raises(ValueError, match=found) as refusal:
        pack.category.LoadCategoryWeights.execute(name)
    assert str(folder) in str(refusal.value)
    assert pack.category.LoadCategoryWeights.validate_inputs(name) == str(refusal.value)


def test_loading(pack: SimpleNamespace, folder: Path) -> None:
    node = pack.category.LoadCategoryWeights
    assert node.validate_inputs("good.safetensors") is True and node.validate_inputs(None) is True
    (opened,) = node.execute("good.safetensors").result
    assert opened.names() == ["mug", "sauce", "wine"]
    before = node.fingerprint_inputs("good.safetensors")
    assert node.fingerprint_inputs("good.safetensors") == before
    path = folder / "good.safetensors"
    write_vocabulary(path, CATEGORIES[:1], torch.zeros(1, 4, 128), base=BASE, training={})
    assert node.fingerprint_inputs("good.safetensors") != before


def test_conditioning_carries_its_positions_and_says_what_was_chosen(condition: Any) -> None:
    output = condition("blue tea cup")
    ((context, values),), chosen = output.result
    assert context.shape == (1, 77, 128) and values["pooled_output"].shape == (1, 128)
    about = values[KEY]
    # start, a, photo, of, A, MUG, ",", in, the, background, of, IDENTIFIER x 4
    assert about["groups"] == {"product": [4, 5], "identifier": [11, 12, 13, 14]}
    assert (about["length"], about["strength"], about["plain"].shape) == (77, 1.0, (1, 77, 128))
    assert chosen == "mug (head noun 'cup' for 'blue tea cup')"
    assert output.ui.as_dict() == {"text": (chosen,)}


def test_identifiers_trained_with_a_lora_say_which_to_load(condition: Any, folder: Path) -> None:
    path = folder / "with_lora.safetensors"
    config = {"lora": "kitchens.safetensors"}
    with_lora = write_vocabulary(path, CATEGORIES, torch.randn(3, 4, 128), base=BASE, config=config, training={})
    output = condition("mugs", weights=with_lora)
    chosen = output.result[1]
    assert chosen == "mug; trained with the LoRA kitchens.safetensors: load it with a stock LoRA node"
    assert output.ui.as_dict() == {"text": (chosen,)}
    # a scene in words needs none
    assert condition("mug", weights=with_lora, described=True).result[1] == "mug"
    assert condition("mug").result[1] == "mug"


def test_categories_differ_at_the_identifier_only(condition: Any) -> None:
    ((mug, _),) = condition("mug", "{identifier} on a table").result[0]
    ((wine, _),) = condition("wine", "{identifier} on a table").result[0]
    differ = (mug != wine).any(-1)[0].nonzero().flatten().tolist()
    assert differ == [1, 2, 3, 4]


def test_plain_is_what_the_host_makes_of_the_text_without_identifier(condition: Any, loaded: SimpleNamespace) -> None:
    ((_, values),) = condition("mug", TEXT).result[0]
    stars = TEXT.replace("{category}", "a mug").replace("{identifier}", "* * * * ")  # apart from the comma
    ((context, stock_values),) = text_of(loaded, stars)
    torch.testing.assert_close(values[KEY]["plain"], context, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(values["pooled_output"], stock_values["pooled_output"], atol=1e-5, rtol=1e-5)


def test_identifiers_of_another_base(pack: SimpleNamespace, condition: Any, folder: Path) -> None:
    wide = CategoryVocabulary.open(folder / "wide.safetensors")
    with pytest.raises(
        ValueError, match=r"'sd15'.*768 wide; this CLIP is 128.*train_category.*described_scene_as_text"
    ):
        condition(weights=wide)
    ((context, values),), chosen = condition(weights=wide, described=True).result
    assert values[KEY]["groups"]["identifier"] == list(range(11, 11 + 9))  # nine tokens of the scene
    assert chosen == "mug" and context.shape == (1, 77, 128)
    with pytest.raises(ValueError, match="describes no scene for 'sauce'"):
        condition("sauce", weights=wide, described=True)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"category": "leather sofa"}, "No category of good.safetensors is near 'leather sofa'"),
        ({"category": ""}, "No category"),
        ({"text": "a photo of {category}"}, "no {identifier}"),
        ({"clip": None}, "There is no CLIP"),
    ],
)
def test_what_cannot_be_used_is_named(condition: Any, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:
        condition(**inputs)
    assert message in str(refusal.value)


def test_joining_keeps_positions_or_refuses(stock: ModuleType, condition: Any, loaded: SimpleNamespace) -> None:
    ours, other = condition("mug").result[0], condition("wine").result[0]
    plain = text_of(loaded, "a photo of perfume")
    about = ours[0][1][KEY]

    (combined,) = stock.ConditioningCombine().combine(ours, other)
    assert [entry[1][KEY]["groups"]["identifier"] for entry in combined] == [about["groups"]["identifier"]] * 2

    (((context, values),),) = stock.ConditioningConcat().concat(ours, plain)
    assert values[KEY] == about and torch.equal(context[:, :77], ours[0][0]) and context.shape[1] == 154
    (((context, values),),) = stock.ConditioningConcat().concat([[context, values]], plain)
    assert values[KEY] == about and context.shape[1] == 231
    for first in (plain, other):
        with pytest.raises(ValueError, match="conditioning_to, the first one"):
            stock.ConditioningConcat().concat(first, ours)


def test_averaging_keeps_positions_or_refuses(stock: ModuleType, condition: Any, loaded: SimpleNamespace) -> None:
    average = stock.ConditioningAverage().addWeighted
    ours, other = condition("mug").result[0], condition("wine").result[0]
    plain, long = text_of(loaded, "a photo of perfume"), text_of(loaded, "wooden board " * 60)
    for second in (plain, long, other):
        (((context, values),),) = average(ours, second, 0.75)
        assert values[KEY] == ours[0][1][KEY]
        expected = ours[0][0].plain() * 0.75 + torch.Tensor(second[0][0])[:, :77] * 0.25
        torch.testing.assert_close(torch.Tensor(context), expected)
    for factor in (0.0, 0.5):
        with pytest.raises(ValueError, match="Connect Category Conditioning as conditioning_to"):
            average(plain, ours, factor)
    assert torch.equal(average(plain, ours, 1.0)[0][0][0], plain[0][0]), "nothing of ours is in it"
    with pytest.raises(ValueError, match=r"\[11, 12, 13, 14\] and \[13, 14, 15, 16\]"):
        average(ours, condition("sauce").result[0], 0.5)
    # short texts are filled up, ours too
    (((context, _),),) = average(condition("mug", "wooden board " * 60 + TEXT).result[0], ours, 1.0)
    assert context.shape[1] == 154


def test_areas_masks_and_ranges_keep_positions(stock: ModuleType, condition: Any) -> None:
    ours = condition("mug").result[0]
    nodes = [
        stock.ConditioningSetArea().append(ours, 64, 64, 0, 0, 1.0),
        stock.ConditioningSetAreaPercentage().append(ours, 0.5, 0.5, 0, 0, 1.0),
        stock.ConditioningSetMask().append(ours, torch.ones(1, 64, 64), "default", 1.0),
        stock.ConditioningSetTimestepRange().set_range(ours, 0.0, 0.5),
        stock.ConditioningZeroOut().zero_out(ours),
    ]
    for (((context, values),),) in nodes:
        assert values[KEY] is ours[0][1][KEY] and context.shape == (1, 77, 128)


def test_a_marked_context_is_a_tensor_like_any_other(condition: Any) -> None:
    ((context, _),) = condition("mug").result[0]
    assert isinstance(context, MarkedContext) and isinstance(context, torch.Tensor)
    again = copy.deepcopy(context)
    assert isinstance(again, MarkedContext) and again.positions == context.positions
    assert torch.equal(again, context) and again.data_ptr() != context.data_ptr()
    loaded = pickle.loads(pickle.dumps(context))  # noqa: S301
    assert type(loaded) is torch.Tensor and torch.equal(loaded, context.plain())
    for plain in (
        context.repeat(2, 1, 1),
        torch.cat([context, context]),
        context[:, 3:],
        context * context,
        context - 1,
    ):
        assert type(plain) is torch.Tensor
    for marked in (context.to("cpu"), context.clone(), context[:, :77], 2 * context, context + torch.ones(1)):
        assert isinstance(marked, MarkedContext) and marked.positions == context.positions
    assert type(torch.randn(1, 77, 128) + context) is torch.Tensor, "noise on a context is nobody's text"


def test_the_sampler_sees_a_plain_tensor(condition: Any, loaded: SimpleNamespace) -> None:
    """Bit for bit the picture of the same numbers without a mark, also beside a longer negative."""
    import comfy.sample

    ours = condition("mug").result[0]
    negative = text_of(loaded, "wooden board " * 60)
    latent = torch.zeros(1, 16, 8, 8)
    noise = comfy.sample.prepare_noise(latent, seed=0)

    def sampled(positive: list[Any]) -> torch.Tensor:
        return comfy.sample.sample(
            loaded.model, noise, 2, 3.0, "euler", "simple", positive, negative, latent, disable_pbar=True, seed=0
        )

    seen: list[type] = []
    network = loaded.model.model.diffusion_model
    hook = network.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(type(kwargs["context"])), with_kwargs=True
    )
    try:
        marked = sampled(ours)
    finally:
        hook.remove()
    assert seen and set(seen) == {torch.Tensor}
    assert torch.equal(marked, sampled([[ours[0][0].plain(), ours[0][1]]]))


def ask(pack: SimpleNamespace, **query: str) -> tuple[int, dict[str, Any]]:
    answer = asyncio.run(pack.category_route.categories(SimpleNamespace(query=query)))
    return answer.status, json.loads(answer.body)


def test_the_route_lists_a_files_categories(pack: SimpleNamespace, folder: Path) -> None:
    assert ask(pack, weights="good.safetensors", near="red tea cups") == (
        200,
        {"count": 3, "names": ["mug", "sauce", "wine"], "chosen": "mug (head noun 'cup' for 'red tea cups')"},
    )
    assert ask(pack, weights="good.safetensors", near="sofa")[1]["chosen"] is None
    for name in ("", "lost.safetensors", "foreign.safetensors", "../good.safetensors"):
        status, answer = ask(pack, weights=name)
        assert status == 404 and str(folder) in answer["error"]


def test_the_route_lists_the_nearest_of_many(pack: SimpleNamespace, folder: Path) -> None:
    many = [Category(f"thing {i:04d}") for i in range(pack.category_route.MOST + 100)] + [Category("mug")]
    write_vocabulary(folder / "many.safetensors", many, torch.zeros(len(many), 1, 128), base=BASE, training={})
    status, answer = ask(pack, weights="many.safetensors", near="mugs")
    assert status == 200 and answer["count"] == len(many) and answer["names"][0] == "mug"
    near = ask(pack, weights="many.safetensors", near="thing")[1]["names"]
    assert len(near) == pack.category_route.MOST and all(name.startswith("thing") for name in near)
    assert len(ask(pack, weights="many.safetensors")[1]["names"]) == pack.category_route.MOST
