"""Suite `ladder`: no generator, only renders made worse on purpose. Every figure must fall, or it measures nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur
from torchvision.utils import save_image

from bg_core.autoencoder import Autoencoder
from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing

from ..data import Record, load_masks, load_pictures, read_records
from ..evaluators.examples import CLASSES, UNKNOWN, is_held_out, labels_of, painted, whole_of
from ..evaluators.frozen import Evaluator, load_evaluators
from ..evaluators.tasks import foreign
from ..export import load_base
from ..export_run import BUNDLED
from ..generate import pasted
from ..metrics.decisions import hits
from ..metrics.distributions import kid, standardised
from ..metrics.intervals import Figure, bootstrap, mean
from ..protocol import Protocol, read_protocol

RUNGS: dict[str, Callable[[Tensor], Tensor]] = {
    "blur1": lambda x: gaussian_blur(x, 7, 1.0),
    "blur2": lambda x: gaussian_blur(x, 13, 2.0),
    "noise": lambda x: x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)),
}
"""What is done to backgrounds in [0,1]; blurs by their deviation in pixels."""

HEADS = ("category", "surface", "wall", "light")
EVALUATOR_SEEDS = range(200_000, 300_000)
FAULTS = ("", "lifted", "doubled", "grown")


def measure(root: Path, limit: int | None = None, sheets: Path | None = None) -> dict[str, Figure]:
    """The ladder on every data set below `root`: scenes of both halves and whatever negatives there are.

    Of the evaluators' own seeds only those count that were kept from their training.
    """
    protocol, evaluators = read_protocol(), load_evaluators()
    folders = sorted(file.parent for file in root.rglob("bg60k_info.txt"))
    records = [record for folder in folders for record in read_records(folder) if not was_learnt(record)]
    if not records:
        raise ProductBackgroundError(
            f"No data sets below {root}: no bg60k_info.txt, or only pictures that evaluators learnt."
        )
    by_fault = {}
    for fault in FAULTS:
        chosen = [r for r in records if (r.factors.get("negative") or "") == fault]
        step = 1 if limit is None else max(1, len(chosen) // limit)
        by_fault[fault] = chosen[::step][:limit]  # from all data sets alike
    masks = load_masks(by_fault[""])
    arms = climbed(load_pictures(by_fault[""]), masks)
    coder = load_base(BUNDLED)[0].autoencoder
    shown = {fault: Shown.of(some, coder) for fault, some in by_fault.items() if some}
    figures: dict[str, Figure] = {}
    for evaluator in evaluators:
        found = scene_rungs(evaluator, by_fault[""], arms, masks, protocol)
        found |= fault_rungs(evaluator, shown, protocol)
        figures |= {f"{evaluator.name}_{key}": figure for key, figure in found.items()}
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        with replacing(sheets / "rungs.png") as temporary:
            save_image(torch.cat([arm[:8] for arm in arms.values()]).float() / 255, temporary, nrow=8)
    return figures


def was_learnt(record: Record) -> bool:
    seed = int(record.factors["seed"])
    return seed in EVALUATOR_SEEDS and not is_held_out(seed)


@dataclass(frozen=True)
class Shown:
    """Pictures [N,3,H,W] through the autoencoder, as all that is judged, masks [N,1,H,W] as given, and categories."""

    pictures: Tensor
    masks: Tensor
    categories: list[str]

    @classmethod
    def of(cls, records: list[Record], coder: Autoencoder) -> Shown:
        wholes = load_masks([whole_of(record) for record in records])
        pictures = painted(load_pictures(records), wholes, coder)
        return cls(pictures, load_masks(records), [record.category for record in records])


def climbed(pictures: Tensor, masks: Tensor) -> dict[str, Tensor]:
    """Each rung's pictures, uint8 with their products pasted back: `real`, through the autoencoder (`vae`), `RUNGS`."""
    image, mask = pictures.float() / 255, masks.float() / 255
    arms = {"real": pictures, "vae": painted(pictures, masks, load_base(BUNDLED)[0].autoencoder)}
    return arms | {name: pasted(rung(image), image, mask) for name, rung in RUNGS.items()}


def scene_rungs(
    evaluator: Evaluator, records: list[Record], arms: dict[str, Tensor], masks: Tensor, protocol: Protocol
) -> dict[str, Figure]:
    """Accuracies and KID on every rung; accuracies against shuffled labels, and of the category in generic scenes."""
    categories = [record.category for record in records]
    others = masks[foreign(categories)]
    labels = {head: torch.tensor([labels_of(record)[head] for record in records]) for head in HEADS}
    bound = labels["category"] != UNKNOWN
    product = torch.tensor([CLASSES["category"].index(record.category) for record in records])
    answers = {name: evaluator.scene(arm, masks, others) for name, arm in arms.items()}

    def figure(statistic: Callable[[Tensor], Tensor]) -> Figure:
        return bootstrap(statistic, categories, protocol.replicates, protocol.bootstrap_seed)

    figures = {}
    for head in HEADS:
        if (labels[head] != UNKNOWN).any():
            for name in arms:
                figures[f"accuracy_{head}_{name}"] = figure(mean(hits(answers[name][head], labels[head])))
            figures[f"accuracy_{head}_shuffled"] = figure(mean(hits(answers["real"][head], labels[head].roll(7))))
    if not bound.all():
        leak = torch.where(bound, UNKNOWN, product)
        figures["category_leak"] = figure(mean(hits(answers["real"]["category"], leak)))
    for name in (name for name in arms if name != "real"):
        features = standardised(answers["real"]["features"], answers[name]["features"])
        figures[f"kid_{name}"] = figure(kid(*features))
    return figures


def fault_rungs(evaluator: Evaluator, by_fault: dict[str, Shown], protocol: Protocol) -> dict[str, Figure]:
    """Contact, twins and extension on sound pictures and on those with each fault."""
    figures = {}
    for fault, shown in by_fault.items():
        pictures, masks = shown.pictures, shown.masks
        values = {
            "contact_rate": (evaluator.contact(pictures, masks) > evaluator.contact_threshold).double(),
            "twin_rate": (evaluator.twin(pictures, masks) > evaluator.twin_threshold).double(),
            "extension": evaluator.extension(pictures, masks),
        }
        for key, value in values.items():
            name = f"{key}_{fault}" if fault else key
            figures[name] = bootstrap(mean(value), shown.categories, protocol.replicates, protocol.bootstrap_seed)
    return figures
