"""`python -m training.train_style --data DIR --out RUN [--base MODEL] [--config TOML]`: teaches references to a base.

Self-supervised on single pictures in any layout that `training.data` reads; no pairs are needed. MODEL is the
demonstration base, or one of Stable Diffusion 1.5's family as one file or as diffusers' folder; it stays frozen. Writes
RUN/style.safetensors, for Load Style Weights.

Several processes: `accelerate launch --num_processes 2 -m training.train_style ...`; they divide a batch's `parts`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.utils import save_image

from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing
from bg_core.style_adapter import StyleAdapter
from bg_core.style_config import GROUPS, StyleConfig, load_style, save_style
from bg_core.style_encoder import Features

from .attention import guide_layers
from .category.prompts import Texts
from .data import Record, read_records, split, without_faults
from .export_run import BUNDLED, commit
from .metrics.references import copied
from .painters import PRECISIONS, Painter, load_painter
from .run import Run
from .sampling import euler_ancestral
from .settings import Settings
from .stamps import begun_from
from .style.batch import Recipe, StyleDraw, StyleScenes
from .style.front import front_end
from .style.mixed import MixedAdapter, load_mixed, save_mixed
from .style.unet import adapter_layers, layer_names, styling

if TYPE_CHECKING:
    from accelerate import Accelerator

CONFIG = Path(__file__).parent / "configs" / "style.toml"
FILE = "style.safetensors"
HELD, SHEET, WATCHED = 64, 16, 16
"""Held-out pictures that losses are taken on, those of them that are painted, and how many run at a time."""

SHAPE = ("front", "frame", "crop", "width")
"""Options that go into the adapter's configuration."""
FORMS: dict[str, tuple[type[StyleAdapter], Callable[..., Any], Callable[..., None]]] = {
    "groups": (StyleAdapter, load_style, save_style),
    "mixed": (MixedAdapter, load_mixed, save_mixed),
}
"""What is trained: the adapter, or the baseline with one reader for everything, which no node loads."""

WEIGHTING = ("product_weight", "snr_gamma", "weight_floor")
PARTS, FORM = "parts", "form"
DEFAULTS = {"precision": "float32", "gradient_checkpointing": False}
"""Of what needn't be said: how the frozen UNet works."""


class StyleTeacher:
    """The frozen painter, the adapter that learns, and the loss of a draw."""

    def __init__(self, painter: Painter, adapter: StyleAdapter, front: Features, options: Mapping[str, Any]) -> None:
        self.painter, self.adapter, self.front = painter, adapter, front
        self.options = options
        self.texts = Texts(painter)
        self.regions, self.names = guide_layers(painter.unet), layer_names(painter.unet)

    def error(
        self,
        draw: StyleDraw,
        t: Tensor,
        noise: Tensor,
        reference: StyleDraw,
        kept: Mapping[str, Tensor],
        scope: ExitStack,
    ) -> Tensor:
        """Squared error [B,C,h,w] of what the painter says of `draw`, with another draw's references or its own; layers
        take from them until `scope` ends."""
        painter = self.painter
        noisy = painter.inputs(painter.diffusion.noisy(draw.clean, noise, t), draw.mask, draw.masked)
        tokens = self.adapter.encoder(reference.views, self.front)
        context = self.texts.captions(draw.captions).values
        scope.enter_context(styling(self.regions, self.adapter, tokens, kept, draw.background, self.names))
        output = painter.predict(noisy, t, context)
        return (output - painter.diffusion.target(draw.clean, noise, t)) ** 2

    def losses(self, draw: StyleDraw, generator: torch.Generator, scope: ExitStack) -> dict[str, Tensor]:
        t = self.painter.diffusion.times(len(draw.clean), generator).to(draw.clean.device)
        noise = torch.randn(draw.clean.shape, generator=generator).to(draw.clean)
        error = self.error(draw, t, noise, draw, draw.kept, scope)
        share = self.options["product_weight"]
        region = share + (1 - share) * draw.background[:, None]
        weight = self.painter.diffusion.weight(t, self.options["snr_gamma"], self.options["weight_floor"])
        return {"loss": ((error * region).mean((1, 2, 3)) * weight).mean(), "error": error.mean().detach()}

    @torch.no_grad()
    def watched(self, draw: StyleDraw) -> dict[str, float]:
        """Errors on the background with the true reference, another picture's, and none: the gaps must grow.

        And each group alone. With the same noise and times whenever it is asked.
        """
        rows, generator = len(draw.clean), torch.Generator().manual_seed(0)
        t = self.painter.diffusion.times(rows, generator).to(draw.clean.device)
        noise = torch.randn(draw.clean.shape, generator=generator).to(draw.clean)
        order = [*range(1, rows), 0]
        whole = {group: torch.ones(rows) for group in GROUPS}
        found = {}
        for name, reference, kept in (
            ("true", draw, whole),
            ("shuffled", draw.with_references(order), whole),
            ("none", draw, {group: torch.zeros(rows) for group in GROUPS}),
            *(
                (f"{group} alone", draw, {g: torch.full((rows,), float(g == group)) for g in GROUPS})
                for group in GROUPS
            ),
        ):
            errors = []
            for some in torch.arange(rows).split(WATCHED):
                with ExitStack() as scope:
                    taken = {group: values[some] for group, values in kept.items()}
                    shown, given = draw.chosen(some.tolist()), reference.chosen(some.tolist())
                    errors.append(self.error(shown, t[some], noise[some], given, taken, scope))
            error = torch.cat(errors)
            found[name] = float((error * draw.background[:, None]).mean() / draw.background.mean())
        return found

    @torch.no_grad()
    def paint(self, draw: StyleDraw, kept: Mapping[str, Tensor], steps: int = 20) -> Tensor:
        """[B,3,H,W] in [0,1], each by its own reference and caption; by the base's own prediction, the velocity."""
        generator = torch.Generator().manual_seed(1)
        said, silence = (self.texts.captions(texts).values for texts in (draw.captions, [""] * len(draw.clean)))
        tokens = self.adapter.encoder(draw.views, self.front)
        with styling(self.regions, self.adapter, tokens, kept, draw.background, self.names):
            latents = euler_ancestral(
                self.painter.predict,
                lambda: torch.randn(draw.clean.shape, generator=generator).to(draw.clean),
                draw.mask,
                draw.masked,
                said,
                silence,
                steps,
            )
        return self.painter.coder.decode(latents).clamp(0, 1)


def read_options(options: dict[str, Any], where: str) -> tuple[dict[str, Any], dict[str, Any], Recipe]:
    """The adapter's shape, the loss's weighting and the recipe."""
    recipe = options.get("recipe", {})
    needed = {*SHAPE, *WEIGHTING, PARTS, FORM, "recipe"}
    unknown = sorted(set(options) - needed - set(DEFAULTS)) + sorted(set(recipe) - set(Recipe.__dataclass_fields__))
    missing = sorted(needed - set(options))
    if unknown or missing:
        raise ProductBackgroundError(f"{where}: unknown options {unknown}, missing {missing}.")
    if options[FORM] not in FORMS:
        raise ProductBackgroundError(f"{where}: there is no form {options[FORM]!r}; accepted are {', '.join(FORMS)}.")
    if (precision := (DEFAULTS | options)["precision"]) not in PRECISIONS:
        raise ProductBackgroundError(f"{where}: precision is {precision!r}, accepted are {' and '.join(PRECISIONS)}.")
    return {k: options[k] for k in SHAPE}, {k: options[k] for k in WEIGHTING}, Recipe(**recipe)


def begun(start: Path, load: Callable[..., Any], config: StyleConfig) -> StyleAdapter:
    """The adapter of the file `start`, which has to be of the form and shape that are asked for."""
    _, adapter = load(start)
    if adapter.config != config:
        raise ProductBackgroundError(
            f"{start}: expected weights of this run's shape, {config.to_dict()}, got {adapter.config.to_dict()}. Start "
            "from nothing, or name a file of that shape."
        )
    return adapter.train().requires_grad_(True)


def teach_style(
    painter: Painter,
    records: Sequence[Record],
    settings: Settings,
    out: Path,
    about: dict[str, Any],
    accelerator: Accelerator,
    clip_vision: Path | None = None,
    start: Path | None = None,
) -> Path:
    """Trains to the end, or goes on from where the run in `out` stands; writes the averaged weights. `about`: what the
    file's metadata say of the data. `start`: weights to train further, of an earlier version of the base perhaps."""
    options = DEFAULTS | dict(settings.options)
    shape, weighting, recipe = read_options(options, "The style trainer's settings")
    painter.place(accelerator.device, options["precision"])
    front, of_front = front_end(painter, shape["front"], clip_vision)
    config = StyleConfig(adapter_layers(painter.unet), **of_front, **shape)
    if options["gradient_checkpointing"]:
        painter.enable_gradient_checkpointing()
    torch.manual_seed(settings.seed)
    make, load, save = FORMS[options[FORM]]
    adapter = (begun(start, load, config) if start else make(config)).to(next(painter.unet.parameters()).device)
    teacher = StyleTeacher(painter, adapter, front, weighting)
    training, validation = split(records)
    whole = make is MixedAdapter
    scenes = StyleScenes(training, painter, config, recipe, whole)
    plain = Recipe((max(recipe.sides),), *(0.0,) * 5, product_caption=1.0, full_caption=0.0)
    held = StyleScenes(validation, painter, config, plain, whole).of(
        validation[:HELD], torch.Generator().manual_seed(0)
    )
    run, parts = Run(out, settings, {"adapter": adapter}, accelerator=accelerator), int(options[PARTS])
    target = out / FILE

    def loss_of(generator: torch.Generator) -> dict[str, Tensor]:
        return teacher.losses(scenes.draw(settings.batch // parts, generator), generator, run.scope)

    def sample() -> None:
        run.swap_average()
        training_facts = {
            **about, "steps": run.step, "seed": settings.seed, "settings": dict(settings.options),
            "commit": commit(), "torch": torch.__version__, "licence": "Apache-2.0",
        }  # fmt: skip
        save(target, adapter, base=painter.family, training=training_facts)
        monitor(run, teacher, held, out)
        run.swap_average()

    run.train(loss_of, sample, parts)
    return target


def monitor(run: Run, teacher: StyleTeacher, held: StyleDraw, out: Path) -> None:
    """Prints and logs the held-out losses and how much is copied; draws a sheet: targets, painted with and without."""
    watched = teacher.watched(held)
    some = held.chosen(range(min(SHEET, len(held.clean))))
    targets = teacher.painter.coder.decode(some.clean).detach().clamp(0, 1).cpu()
    rows = [targets]
    if teacher.painter.inpaints and teacher.painter.diffusion.prediction == "v":
        where = torch.nn.functional.interpolate(some.background[:, None].cpu(), size=targets.shape[-2:])
        for name, strength in (("copied", 1.0), ("copied without", 0.0)):
            kept = {group: torch.full((len(targets),), strength) for group in ("style", "layout")}
            rows.append(teacher.paint(some, kept).cpu())
            watched[name] = float(copied(rows[-1], targets, where).nanmean())
    print(f"step {run.step}: " + ", ".join(f"{key} {value:.4f}" for key, value in watched.items()), flush=True)
    for key, value in watched.items():
        run.writer.add_scalar(f"held out/{key}", value, run.step)
    with replacing(out / f"sheet_{run.step:06d}.png") as temporary:
        save_image(torch.cat(rows), temporary, nrow=len(targets))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train_style", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run goes on from there")
    parser.add_argument("--base", type=Path, default=BUNDLED, help="the model that stays frozen")
    parser.add_argument("--start", type=Path, help="style weights that are trained further, not random ones")
    parser.add_argument("--clip-vision", type=Path, help="a CLIP vision tower's folder, for front = clip_vision")
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args(arguments)
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    settings = Settings.read(options.config)
    records = without_faults(read_records(options.data))
    about = {"data": options.data.name, "pictures": len(records), "model": options.base.name}
    painter = load_painter(options.base)
    if options.start:
        about |= begun_from(options.start)
    file = teach_style(painter, records, settings, options.out, about, accelerator, options.clip_vision, options.start)
    if accelerator.is_main_process:
        print(f"{file}: {file.stat().st_size / 1e6:.2f} MB")
    accelerator.end_training()


if __name__ == "__main__":
    main()
