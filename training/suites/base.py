"""Suite `base`: the autoencoder, and the pictures that the bundled base paints, against real renders."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur
from torchvision.utils import save_image

from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing

from ..data import Record, load_masks, load_pictures, read_records, without_faults
from ..evaluators.examples import CLASSES
from ..evaluators.frozen import Evaluator, load_evaluators
from ..export import Base, load_base
from ..export_run import BUNDLED
from ..generate import generate, pasted, reconstruct
from ..metrics.decisions import area_under_curve
from ..metrics.distributions import laplacian_patches, sliced_wasserstein
from ..metrics.intervals import Figure, bootstrap, mean, ratio
from ..metrics.pictures import fine_energy, psnr, psnr_edges
from ..pca import fit
from ..protocol import Protocol, read_protocol
from .judge import PROMPTED, Arms, Judge, worse
from .packshots import read_packshots

BLUR = 2.0
"""Deviation in pixels of the blur that anchors distances between sets."""
SHEET, WORST = 256, 32
PATCHES, PATCH_REPLICATES = 24, 100


def measure(root: Path, limit: int | None = None, sheets: Path | None = None) -> dict[str, Figure]:
    """All figures of the suite on the scenes of a data set; `sheets` gets pictures, the worst ones among them."""
    protocol, evaluators = read_protocol(), load_evaluators()
    everything = read_records(root)
    records = [r for r in without_faults(everything) if r.factors][:limit]
    check_judgeable(records, "rendered scenes", root)
    base, _ = load_base(BUNDLED)
    arms, decoded = anchors(base, records)
    captions = [record.caption for record in records]
    foreign = [captions[i - len(captions) // 2 - 1] for i in range(len(captions))]
    ours, shuffled = (generate(base, protocol, arms.real, arms.masks, said) for said in (captions, foreign))
    arms = replace(arms, ours=ours, shuffled=shuffled)
    judges = [Judge(evaluator, arms, protocol) for evaluator in evaluators]
    figures = autoencoder_figures(arms, decoded, protocol)
    figures |= worse([[group(judge) for group in Judge.groups] for judge in judges])
    figures |= patch_figures(arms, protocol)
    lifted = {r.factors["seed"]: r for r in everything if r.factors.get("negative") == "lifted"}
    if pairs := [(i, lifted[r.factors["seed"]]) for i, r in enumerate(records) if r.factors["seed"] in lifted]:
        figures["contact_auc"] = contact_auc(evaluators, arms, pairs, protocol)
    if sheets is not None:
        draw_sheets(judges[0], sheets)
        if (root / "packshots").is_dir():
            draw_packshots(base, judges[0].evaluator, root, protocol, sheets)
    return figures


def check_judgeable(records: list[Record], kind: str, root: Path) -> None:
    """Raises ProductBackgroundError unless two categories have two pictures each, as a `Judge` compares them."""
    counts = Counter(record.category for record in records)
    if sum(count > 1 for count in counts.values()) < 2:
        raise ProductBackgroundError(
            f"{root}: expected two or more {kind}, with factors, of at least two categories; found {len(records)} "
            f"scenes of {len(counts)} categories. Neighbouring seeds are of different categories: render more of "
            "them, or raise --limit."
        )


def anchors(base: Base, records: list[Record]) -> tuple[Arms, Tensor]:
    """The arms that nobody painted, `ours` and `shuffled` standing empty; the autoencoder's pictures before pasting."""
    pictures, masks = load_pictures(records), load_masks(records)
    decoded = reconstruct(base, pictures)
    image, mask = pictures.float() / 255, masks.float() / 255
    vae = pasted(decoded.float() / 255, image, mask)
    blur = pasted(gaussian_blur(image, 13, BLUR), image, mask)
    nothing = pictures[:0]
    return Arms(records, masks, pictures, vae, blur, ours=nothing, shuffled=nothing), decoded


def autoencoder_figures(arms: Arms, decoded: Tensor, protocol: Protocol) -> dict[str, Figure]:
    """PSNR and sharpness of backgrounds: the autoencoder's, and those of a PCA fitted to these very pictures.

    `_gain` is the difference picture by picture, whose interval is narrower than the two figures' own.
    """
    target, where = arms.real.float() / 255, 1 - arms.masks.float() / 255
    projection = fit(arms.real, 16)
    linear = projection.decode(projection.encode(target)).clamp(0, 1)
    values, figures = {}, {}
    for suffix, output in (("", decoded.float() / 255), ("_pca", linear)):
        values[f"vae_psnr{suffix}"] = psnr(output, target, where)
        values[f"vae_psnr_edges{suffix}"] = psnr_edges(output, target, where)
        energies = fine_energy(output, where), fine_energy(target, where)
        figures[f"vae_sharpness{suffix}"] = arms.figure(ratio(*energies), protocol)
    for key in ("vae_psnr", "vae_psnr_edges"):
        values[f"{key}_gain"] = values[key] - values[f"{key}_pca"]
    return figures | {key: arms.figure(mean(value), protocol) for key, value in values.items()}


def patch_figures(arms: Arms, protocol: Protocol) -> dict[str, Figure]:
    """Sliced Wasserstein distances of the three arms to the renders, `sliced_wasserstein`, `_vae` and `_blur`."""
    where = 1 - arms.masks.float() / 255
    patches = {
        name: laplacian_patches(pictures.float() / 255, where, PATCHES)
        for name, pictures in (("real", arms.real), ("", arms.ours), ("_vae", arms.vae), ("_blur", arms.blur))
    }
    real = patches.pop("real")
    return {
        f"sliced_wasserstein{name}": bootstrap(
            sliced_wasserstein(real, other), arms.categories, PATCH_REPLICATES, protocol.bootstrap_seed
        )
        for name, other in patches.items()
    }


def contact_auc(evaluators: list[Evaluator], arms: Arms, pairs: list[tuple[int, Record]], protocol: Protocol) -> Figure:
    """How surely the worse contact scorer tells these scenes from the same ones with the product lifted."""
    rows, records = [i for i, _ in pairs], [record for _, record in pairs]
    pictures, masks = load_pictures(records), load_masks(records)
    figures = []
    for evaluator in evaluators:
        standing = evaluator.contact(arms.real[rows], arms.masks[rows])
        statistic = area_under_curve(standing, evaluator.contact(pictures, masks))
        categories = [record.category for record in records]
        figures.append(bootstrap(statistic, categories, protocol.replicates, protocol.bootstrap_seed))
    return min(figures, key=lambda figure: figure.value)


def draw_sheets(judge: Judge, folder: Path) -> None:
    """`pictures.png`, the first of the list, and the worst of all by each metric, worst first."""
    folder.mkdir(parents=True, exist_ok=True)
    sheets = {"pictures": torch.arange(min(SHEET, len(judge.arms.records)))}
    merits = {
        "contact": judge.contact["ours"],
        "extension": -judge.extension["ours"],
        "twin": -judge.twin["ours"],
    }
    for head in PROMPTED:
        chance = judge.answers["ours"][head].log_softmax(1)
        asked = torch.tensor([CLASSES[head].index(record.factors[head]) for record in judge.arms.records])
        merits[head] = chance.gather(1, asked[:, None])[:, 0]
    sheets |= {f"worst_{name}": merit.argsort()[:WORST] for name, merit in merits.items()}
    for name, rows in sheets.items():
        draw(judge.arms.ours[rows], folder / f"{name}.png")


def draw_packshots(base: Base, evaluator: Evaluator, root: Path, protocol: Protocol, folder: Path) -> None:
    """`packshots.png`: pictures for the products of `root/packshots`; and the worst of them, by how they stand."""
    pictures, masks, captions = read_packshots(root)
    painted = generate(base, protocol, pictures, masks, captions)
    draw(painted, folder / "packshots.png")
    draw(painted[evaluator.contact(painted, masks).argsort()[:WORST]], folder / "worst_packshots.png")


def draw(pictures: Tensor, file: Path) -> None:
    """A sheet of uint8 pictures [N,3,H,W]."""
    with replacing(file) as temporary:
        save_image(pictures.float() / 255, temporary, nrow=16 if len(pictures) > WORST else 8)
