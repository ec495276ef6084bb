"""`python -m training.train_category --base MODEL --data DIR --out RUN [--config TOML]`: teaches categories to a base.

MODEL is the demonstration base, or one of Stable Diffusion 1.5's family as one file or as diffusers' folder; it stays
frozen. Learned are identifiers (vectors that stand in the prompt), a LoRA on cross-attention, or both: `arm` in the
TOML file says it (`training.category.plan`). Writes RUN/identifiers.safetensors and RUN/RUN_lora.safetensors.

Several processes: `accelerate launch --num_processes 2 -m training.train_category ...`; they divide a batch's `parts`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bg_core.regions import region_of
from bg_core.vocabulary import Category
from bg_core.vocabulary_files import write_vocabulary

from .attention import guide_layers
from .category.batch import Balanced, Draw, Shown
from .category.plan import Plan
from .category.prompts import HIDDEN, Context, Identifiers, Texts
from .category.scenes import Example, select
from .data import read_records, without_faults
from .export_run import BUNDLED, commit
from .latents import Latents, kept_latents
from .lora import add_lora
from .painters import Painter, load_painter
from .render.categories import CATEGORIES
from .run import Run
from .settings import Settings
from .vocabulary import studio_category

if TYPE_CHECKING:
    from accelerate import Accelerator

CONFIG = Path(__file__).parent / "configs" / "category.toml"
IDENTIFIERS_FILE = "identifiers.safetensors"


def lora_file(run: Path) -> Path:
    """Where a run writes its LoRA: named after the run, as all of a user's LoRAs lie in one folder."""
    return run / f"{run.resolve().name}_lora.safetensors"


@dataclass(frozen=True)
class Lesson:
    """Examples with their latents, row by row, and the categories they teach."""

    examples: Sequence[Example]
    latents: Latents
    categories: Sequence[Category]

    @classmethod
    def of(cls, examples: Sequence[Example], latents: Latents) -> Lesson:
        labels = sorted({example.label for example in examples})
        return cls(examples, latents, [known_category(label) for label in labels])

    @property
    def labels(self) -> list[int]:
        """The row of each example's category."""
        row = {category.name: i for i, category in enumerate(self.categories)}
        return [row[example.label] for example in self.examples]


def known_category(name: str) -> Category:
    """The studio's record of a category, with aliases and scene, or a bare one."""
    return studio_category(name) if name in CATEGORIES else Category(name)


class Teacher:
    """The frozen painter with what is learned of it, and the loss of one step."""

    def __init__(self, painter: Painter, lesson: Lesson, plan: Plan) -> None:
        self.painter, self.lesson, self.plan = painter, lesson, plan
        self.arm = plan.of_arm
        self.device = next(painter.unet.parameters()).device
        self.texts = Texts(painter, plan.template)
        # a virtual category's name would say what its scenes show
        self.names = [HIDDEN if plan.scenes.virtual else category.words for category in lesson.categories]
        self.identifiers = Identifiers(painter, self.names, plan.vectors, self.texts).to(self.device)
        self.lora = add_lora(painter.unet, plan.rank, plan.rank) if self.arm.lora else None
        self.regions = guide_layers(painter.unet)
        self.scenes = Balanced(lesson.labels, plan.balance)
        self.labels = torch.tensor(lesson.labels)

    def modules(self) -> dict[str, torch.nn.Module]:
        """What is trained."""
        learned: dict[str, torch.nn.Module] = {}
        if self.arm.identifiers:
            learned["identifiers"] = self.identifiers
        if self.lora is not None:
            learned["lora"] = self.lora
        return learned

    def draw(self, batch: int, generator: torch.Generator) -> Draw:
        plan = self.plan
        return Draw.new(
            self.scenes, self.lesson.latents, self.painter.diffusion, batch, plan.hide_product, plan.drop_caption,
            generator,
        )  # fmt: skip

    def context(self, draw: Draw) -> Context:
        """What each row of a draw reads."""
        rows = self.labels[draw.rows]
        words = [
            HIDDEN if hidden else self.lesson.examples[row].words
            for row, hidden in zip(draw.rows.tolist(), draw.hidden.tolist(), strict=True)
        ]
        if self.arm.identifiers:
            context = self.texts.with_vectors(words, self.identifiers(rows.to(self.device)), self.arm.place)
        else:
            context = self.texts.in_words(words, [self.names[row] for row in rows.tolist()])
        if not bool(draw.silent.any()):
            return context
        empty = self.texts.captions([""]).values
        silent = draw.silent.view(-1, 1, 1).to(self.device)
        positions = [[] if dropped else p for p, dropped in zip(context.positions, draw.silent.tolist(), strict=True)]
        return Context(torch.where(silent, empty, context.values), positions)

    def losses(self, draw: Draw, scope: ExitStack) -> dict[str, Tensor]:
        """The named losses of a draw, `loss` first; layers are guided until `scope` ends."""
        plan, painter = self.plan, self.painter
        shown = Shown.of(self.lesson.latents, draw, self.device)
        t, noise = draw.t.to(self.device), draw.noise.to(self.device)
        noisy = painter.inputs(painter.diffusion.noisy(shown.clean, noise, t), shown.mask, shown.masked)
        context = self.context(draw)
        guiding = self.regions.guiding(
            None if self.arm.trained == "none" else shown.background,
            context.positions,
            noisy.shape[-2:],
            context.values.shape[1],
            watch=plan.attention_loss > 0 and self.arm.trained != "output",
            method="output" if self.arm.trained == "output" else "attention",
        )
        scope.enter_context(guiding)
        output = painter.predict(noisy, t, context.values)
        shares = list(self.regions.state.shares or ())
        error = (output - painter.diffusion.target(shown.clean, noise, t)) ** 2
        region = plan.product_weight + (1 - plan.product_weight) * shown.background[:, None]
        weight = painter.diffusion.weight(t, plan.snr_gamma, plan.weight_floor)
        learned = ((error * region).mean((1, 2, 3)) * weight).mean()
        values = {"loss": learned, "error": error.mean().detach()}
        if shares:
            values["attention"] = on_product(shares, shown.background)
            values["loss"] = learned + plan.attention_loss * values["attention"]
        return values


def on_product(shares: Sequence[Tensor], background: Tensor) -> Tensor:
    """The mean share of attention, over all layers, that places on the product give to the identifier.

    `shares`: [B,1,places] of each layer; `background` [B,h,w].
    """
    height, width = background.shape[-2:]
    terms = []
    for share in shares:
        level = next(k for k in range(6) if -(-height // 2**k) * -(-width // 2**k) == share.shape[-1])
        product = 1 - region_of(background, -(-height // 2**level), -(-width // 2**level))
        terms.append((share[:, 0] * product).sum() / product.sum().clamp(min=1e-6))
    return torch.stack(terms).mean()


def teach(
    painter: Painter,
    lesson: Lesson,
    settings: Settings,
    plan: Plan,
    out: Path,
    about: dict[str, Any],
    accelerator: Accelerator | None = None,
) -> Teacher:
    """Trains to the end, or goes on from where the run in `out` stands; writes the averaged weights as files.

    `about`: what the files' metadata say of the data.
    """
    torch.manual_seed(settings.seed)
    teacher = Teacher(painter, lesson, plan)
    if plan.gradient_checkpointing:
        painter.enable_gradient_checkpointing()
    modules = teacher.modules()
    run = Run(out, settings, modules, rates=dict(plan.rates), accelerator=accelerator)

    def loss_of(generator: torch.Generator) -> dict[str, Tensor]:
        return teacher.losses(teacher.draw(settings.batch // plan.parts, generator), run.scope)

    def write() -> None:
        run.swap_average()
        training = {
            **about,
            "steps": run.step,
            "settings": {name: getattr(settings, name) for name in ("seed", "steps", "batch", "learning_rate", "ema")},
            "commit": commit(),
            "torch": torch.__version__,
            "licence": "Apache-2.0",
        }
        if "identifiers" in modules:
            config = {"plan": plan.to_dict()} | ({"lora": lora_file(out).name} if "lora" in modules else {})
            write_vocabulary(
                out / IDENTIFIERS_FILE, lesson.categories, teacher.identifiers.all(), base=painter.family,
                config=config, training=training,
            )  # fmt: skip
        if teacher.lora is not None:
            teacher.lora.save(lora_file(out), painter.family, training)
        run.swap_average()

    run.train(loss_of, write, plan.parts)
    run.swap_average()
    return teacher


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train_category", description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=BUNDLED, help="model to teach (the demonstration base)")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run goes on from there")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--latents", type=Path, help="folder for computed latents (beside the run)")
    options = parser.parse_args(arguments)
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    settings = Settings.read(options.config)
    plan = Plan.of(settings.options, str(options.config))
    painter = load_painter(options.base)
    painter.place(accelerator.device, plan.precision)
    examples = select(without_faults(read_records(options.data)), plan.scenes, settings.seed)
    with accelerator.main_process_first():  # one computes the latents, the others find them
        latents = kept_latents(
            painter.coder, [example.record for example in examples], plan.side, plan.views,
            options.latents or options.out.parent / "latents", mirror=False,
        )  # fmt: skip
    about = {"data": options.data.name, "pictures": len(examples), "model": options.base.name}
    teach(painter, Lesson.of(examples, latents), settings, plan, options.out, about, accelerator)
    accelerator.end_training()


if __name__ == "__main__":
    main()
