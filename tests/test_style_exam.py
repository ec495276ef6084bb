"""What suite `style` says of pictures whose answers are known: figures of the exam, one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from training.data import Pair, Record
from training.evaluators.examples import CLASSES
from training.metrics.references import colour_share
from training.protocol import Protocol
from training.suites.judge import worse
from training.suites.style_exam import Painted, StyleJudge, gaps, pixel_figures

N, SIDE = 8, 96
QUICK = Protocol(2, 2.0, 7, 50, 0, {})
NAMES = CLASSES["category"][:4]


def record(number: int, category: str) -> Record:
    facts = {head: classes[number % len(classes)] for head, classes in CLASSES.items()}
    return Record(f"{number}", category, Path(), Path(), factors=facts | {"category": category, "half": "generic"})


def pairs(same: int = 0) -> list[Pair]:
    """Products and references of other categories, but for the first `same` ones."""
    out = []
    for i in range(N):
        own, other = NAMES[i % 4], NAMES[(i + (i >= same)) % 4]
        out.append(Pair(record(i, own), record(i, other), own))
    return out


def scenes(seed: int) -> Tensor:
    """uint8 [N,3,SIDE,SIDE]: one busy patch a picture on a plain ground, each somewhere else."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.full((N, 3, SIDE, SIDE), 128, dtype=torch.uint8)
    for i in range(N):
        y, x = (int(torch.randint(2, generator=generator, size=())) * 48 for _ in range(2))
        noise = torch.randint(0, 256, (3, 40, 40), generator=generator, dtype=torch.uint8)
        pictures[i, :, y : y + 40, x : x + 40] = noise
    return pictures


def discs(centre: int) -> Tensor:
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return (((x - centre) ** 2 + (y - centre) ** 2 < 8**2) * 255).to(torch.uint8).expand(N, 1, -1, -1).clone()


def exam(same: int = 0, **arms: Tensor) -> Painted:
    """All arms are strange scenes, but for those that are given."""
    strange = {name: scenes(10 + i) for i, name in enumerate(("ours", "style", "layout", "without"))}
    reference = scenes(1)
    return Painted(pairs(same), discs(48), strange | arms, scenes(2), scenes(3), reference, discs(30))


class Told:
    """An evaluator that says what it was told of each arm, whatever the pictures: `heads` by arm."""

    twin_threshold = 0.5

    def __init__(self, painted: Painted, heads: dict[str, dict[str, Tensor]], **of_pictures: dict[str, Tensor]) -> None:
        self.named = {**painted.arms, "real": painted.real, "gallery": painted.reference}
        self.heads, self.of_pictures = heads, of_pictures

    def name(self, pictures: Tensor) -> str:
        return next(name for name, some in self.named.items() if some is pictures)

    def scene(self, pictures: Tensor, masks: Tensor, hidden: Tensor) -> dict[str, Tensor]:
        nothing = {head: torch.eye(len(classes))[[-1] * N] for head, classes in CLASSES.items()}
        # each is alike none of the gallery
        style = torch.eye(2 * N)[N:] if self.name(pictures) != "gallery" else torch.eye(2 * N)[:N]
        return nothing | {"style": style} | self.heads.get(self.name(pictures), {})

    def twin(self, pictures: Tensor, masks: Tensor) -> Tensor:
        return self.of_pictures.get("twins", {}).get(self.name(pictures), torch.zeros(N))

    def extension(self, pictures: Tensor, masks: Tensor) -> Tensor:
        return self.of_pictures.get("grown", {}).get(self.name(pictures), torch.zeros(N)).double()


def judge(painted: Painted, heads: dict[str, dict[str, Tensor]] | None = None, **rest: Any) -> StyleJudge:
    return StyleJudge(Told(painted, heads or {}, **rest), painted, QUICK)  # type: ignore[arg-type]


def values(groups: Any) -> dict[str, float]:
    groups = groups if isinstance(groups, list) else [groups]
    return {key: figure.value for group in groups for key, figure in group.figures.items()}


def answering(painted: Painted, head: str, right: int) -> dict[str, Tensor]:
    """The references' own factor in the first `right` pictures, another one in the rest."""
    wanted = torch.tensor([CLASSES[head].index(pair.reference.factors[head]) for pair in painted.pairs])
    wrong = (wanted + 1) % len(CLASSES[head])
    said = torch.where(torch.arange(N) < right, wanted, wrong)
    return {head: torch.eye(len(CLASSES[head]))[said]}


def test_a_copy_is_one_and_what_knows_no_reference_is_none() -> None:
    painted = exam(ours=scenes(1))
    figures = pixel_figures(painted, QUICK)
    assert figures["copy_rate"].value == 1 and figures["copy_rate_without"].value == 0
    assert figures["copy_rate_over_without"].value == 1


def test_a_layout_that_is_the_references_gains_and_anothers_doesnt() -> None:
    figures = pixel_figures(exam(layout=scenes(1), style=scenes(1).flip(-1)), QUICK)
    assert figures["layout_iou_gain_layout"].value > 0.3
    assert figures["layout_iou_gain_style"].value < figures["layout_iou_gain_layout"].value - 0.3


def test_one_level_in_one_products_pixel_is_seen() -> None:
    painted = exam()
    ours = torch.where(painted.masks == 255, painted.originals, painted.arms["ours"])
    assert pixel_figures(exam(ours=ours), QUICK)["product_error"].value == 0
    ours[2, 1, 48, 48] = ours[2, 1, 48, 48] - 7
    assert pixel_figures(exam(ours=ours), QUICK)["product_error"].value == pytest.approx(7 / N)


def test_the_products_colour_is_found_where_it_is() -> None:
    reference = torch.full((2, 3, 8, 8), 200, dtype=torch.uint8)
    product = torch.zeros(2, 1, 8, 8)
    product[:, :, :4] = 1
    reference[:, 1:, :4] = 10  # a red product
    picture = torch.full((2, 3, 8, 8), 90, dtype=torch.uint8)
    picture[0, 0, :, 6:], picture[0, 1:, :, 6:] = 198, 12
    where = torch.ones(2, 1, 8, 8)
    where[:, :, :, :2] = 0
    shares = colour_share(picture, where, reference, product)
    assert shares.tolist() == pytest.approx([2 / 6, 0.0])
    assert colour_share(picture, where, reference, torch.zeros_like(product)).isnan().all()


def test_a_reference_is_found_by_style_alone_among_its_likes() -> None:
    painted = exam()
    half = torch.eye(2 * N)[:N]
    half = torch.where((torch.arange(N) < 4)[:, None], half, half.roll(1, 0))
    found = values(judge(painted, {"style": {"style": half}, "real": {"style": torch.eye(2 * N)[:N]}}).retrieval())
    assert (found["retrieval_top1"], found["retrieval_real"], found["retrieval_top1_without"]) == (0.5, 1.0, 0.0)


def test_responses_count_what_each_strength_passes_on() -> None:
    painted = exam()
    told = judge(
        painted,
        {
            "style": answering(painted, "surface", 6),
            "layout": answering(painted, "surface", 3),
            "without": answering(painted, "surface", 1),
            "real": answering(painted, "surface", 8),
        },
    )
    found = values(told.responses("surface"))
    assert found["response_style_surface"] == 6 / N and found["response_style_surface_over_without"] == 5 / N
    assert found["response_layout_surface"] == 3 / N and found["response_layout_surface_over_without"] == 2 / N
    assert (found["response_without_surface"], found["response_real_surface"]) == (1 / N, 1.0)
    layout = judge(painted, {"gallery": answering(painted, "arrangement", 7)}).responses("layout")
    assert values(layout)["response_real_layout"] == 7 / N, "a pair has another layout: the reference itself is asked"


def test_the_worse_of_two_is_found_for_each_strength() -> None:
    """One finds less of what style is for, the other more of what layout isn't for: both count."""
    painted = exam()
    judges = []
    for style, layout in ((4, 2), (6, 5)):
        heads = {"style": answering(painted, "surface", style), "layout": answering(painted, "surface", layout)}
        heads |= {"without": answering(painted, "surface", 1), "real": answering(painted, "surface", 8)}
        judges.append(judge(painted, heads))
    figures = worse([one.responses("surface") for one in judges])
    assert figures["response_style_surface"].value == 4 / N
    assert figures["response_layout_surface"].value == 5 / N
    assert figures["response_layout_surface_over_without"].value == 4 / N


def test_a_ghost_is_a_twin_or_a_bare_place() -> None:
    twins = torch.zeros(N)
    twins[:3] = 1
    busy = torch.randint(0, 256, (N, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)
    bare = busy.clone()
    bare[:, :, 14:46, 14:46] = 128
    painted = exam(ours=busy.clone(), without=busy)
    assert values(judge(painted, twins={"ours": twins}).ghosts())["ghost_rate"] == pytest.approx(3 / N, abs=1 / N)
    assert float(gaps(painted, bare).max()) < float(gaps(painted, busy).min())
    found = values(judge(exam(ours=bare, without=busy)).ghosts())
    assert found["ghost_rate"] == 1 and found["ghost_rate_without"] <= 1 / N
    assert found["ghost_rate_over_without"] >= 1 - 1 / N


def test_leaks_count_only_where_products_differ() -> None:
    painted = exam(same=4)
    theirs = torch.tensor([CLASSES["category"].index(pair.reference.category) for pair in painted.pairs])
    right = torch.eye(len(CLASSES["category"]))[theirs]
    found = values(judge(painted, {"ours": {"category": right}}).leaks())
    assert (found["leak_rate"], found["leak_rate_without"], found["leak_rate_over_without"]) == (1.0, 0.0, 1.0)
    half = torch.where((torch.arange(N) < 6)[:, None], right, right.roll(1, 1))
    assert values(judge(painted, {"ours": {"category": half}}).leaks())["leak_rate"] == 0.5
    assert judge(exam(same=N)).leaks().figures == {}


def test_growth_is_told_against_the_renders_and_what_knows_no_reference() -> None:
    grown = {"ours": torch.full((N,), 0.3), "real": torch.full((N,), 0.1), "without": torch.full((N,), 0.15)}
    found = values(judge(exam(), grown=grown).extensions())
    assert found == pytest.approx(
        {"extension_excess": 0.2, "extension_excess_without": 0.05, "extension_excess_over_without": 0.15}
    )
