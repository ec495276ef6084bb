"""`python -m training.train_base --data DIR --autoencoder RUN --out RUN`: trains the demonstration base.

Text encoder and UNet learn together, from random weights, to paint what surrounds a masked product: v-prediction with
zero terminal SNR on the autoencoder's latents, first on small pictures, the last part on full ones. `--start BASE` goes
on from the weights of an exported base.
"""

from __future__ import annotations

import argparse
import dataclasses
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.utils import save_image

from bg_core.base import inpainting_input
from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing

from .base_batch import Batch, Batches
from .data import read_records, split
from .diffusion import demonstration_diffusion
from .export import load_autoencoder, load_base, new_text_encoder, new_unet
from .latents import kept_latents
from .muon import Muon
from .render.catalog import LIGHTS, PALETTE, PROPS, SURFACES, WALLS
from .render.categories import CATEGORIES
from .run import Run
from .sampling import euler_ancestral
from .settings import Settings
from .stamps import begun_from
from .text import Vocabulary

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

CONFIG = Path(__file__).parent / "configs" / "base.toml"
SHEET = 16  # pictures on a sample sheet
HELD = 64  # held-out pictures that the error is taken on


def vocabulary() -> Vocabulary:
    """All words the recipe can say, whether or not a picture says them yet: the rows stay the same as data grows."""
    phrases = [phrase for table in (SURFACES, WALLS, LIGHTS, PROPS) for options in table.values() for phrase in options]
    said = [phrase.format(colour=colour) for phrase, colour in product(phrases, PALETTE)]
    said += [word for category in CATEGORIES.values() for word in category.words]
    return Vocabulary.from_captions([*said, "product photo of a, an on in front of with and left right"])


def begun(start: Path, words: Vocabulary) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """UNet and text encoder of the exported base `start`, which has to know exactly `words`."""
    base, _ = load_base(start)
    if base.vocabulary.host_ids != words.host_ids:
        raise ProductBackgroundError(
            f"{start}: expected the vocabulary of today's recipe, {len(words)} rows, got {len(base.vocabulary)} rows"
            f"{'' if len(words) != len(base.vocabulary) else ' of other words'}. Train from random weights instead."
        )
    return base.unet.train(), base.text.train()


def regions(mask: Tensor, product_weight: float, rim: int, rim_weight: float) -> Tensor:
    """Weight of each latent cell's error, for `mask` [B,1,h,w] (1 = repaint): `product_weight` on the product,
    `rim_weight` up to `rim` cells around it, 1 elsewhere."""
    near = F.max_pool2d(1 - mask, 2 * rim + 1, stride=1, padding=rim)
    return torch.where(mask > 0.5, 1 + (rim_weight - 1) * near, product_weight)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train_base", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--autoencoder", type=Path, required=True, help="run of training.train_vae, or an exported base"
    )
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run goes on from there")
    parser.add_argument("--start", type=Path, help="exported base whose weights are trained further, not random ones")
    parser.add_argument("--latents", type=Path, help="folder where latents are kept; by default beside the run folder")
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args(arguments)
    settings = Settings.read(options.config)
    if options.start:
        settings = dataclasses.replace(settings, options={**settings.options, **begun_from(options.start)})
    own = settings.options

    training, validation = split(read_records(options.data))
    coder = load_autoencoder(options.autoencoder)
    kept = options.latents or options.out.parent / "latents"
    small, large = (
        Batches(kept_latents(coder, training, own[side], own[f"{side}_views"], kept), [r.caption for r in training])
        for side in ("small", "large")
    )
    held = Batches(
        kept_latents(coder, validation, own["large"], 1, kept), [record.caption for record in validation]
    ).first(HELD)

    words = vocabulary()
    torch.manual_seed(settings.seed)
    unet, text = begun(options.start, words) if options.start else (new_unet(), new_text_encoder(words))
    unet.to(memory_format=torch.channels_last)
    run = Run(options.out, settings, {"unet": unet, "text": text}, Muon)
    diffusion = demonstration_diffusion()

    def context(captions: list[str], generator: torch.Generator | None = None) -> Tensor:
        rows = words.encode(captions)
        if generator is not None:
            rows = words.drop_words(rows, own["drop_words"], generator)
        return text(rows).last_hidden_state

    def predict(batch: Batch, t: Tensor, noise: Tensor, said: Tensor) -> Tensor:
        """Squared error of what the network says of `batch` at times `t` [B]; [B,C,h,w]."""
        noisy = inpainting_input(diffusion.noisy(batch.clean, noise, t), batch.mask, batch.masked)
        return (unet(noisy, t, said).sample - diffusion.target(batch.clean, noise, t)) ** 2

    def loss_of(generator: torch.Generator) -> dict[str, Tensor]:
        pictures = large if run.step >= settings.steps * (1 - own["large_share"]) else small
        batch = pictures.draw(settings.batch // own["parts"], own["drop_caption"], generator)
        t = diffusion.times(len(batch.clean), generator)
        noise = torch.randn(batch.clean.shape, generator=generator)
        error = predict(batch, t, noise, context(batch.captions, generator))
        region = regions(batch.mask, own["product_weight"], own["rim"], own["rim_weight"])
        weight = diffusion.weight(t, own["snr_gamma"], own["weight_floor"])
        return {"loss": ((error * region).mean((1, 2, 3)) * weight).mean(), "v_error": error.mean().detach()}

    def held_out_error() -> float:
        """Mean squared error on pictures that are never trained on, the same noise and times whenever it is asked."""
        generator = torch.Generator().manual_seed(0)
        times = diffusion.times(len(held.clean), generator)
        noise = torch.randn(held.clean.shape, generator=generator)
        return float(predict(held, times, noise, context(held.captions)).mean())

    def sample() -> None:
        shown = [tensor[:SHEET] for tensor in (held.clean, held.mask, held.masked)]
        generator = torch.Generator().manual_seed(0)
        run.swap_average()
        with torch.no_grad():
            error = held_out_error()
            said, silence = context(held.captions[:SHEET]), context([""] * len(shown[0]))
            latents = euler_ancestral(
                lambda x, t, c: unet(x, t, c).sample,
                lambda: torch.randn(shown[0].shape, generator=generator),
                *shown[1:],
                said,
                silence,
            )
            pictures = torch.cat([coder.decode(latents), coder.decode(shown[0])]).clamp(0, 1)
        run.swap_average()
        print(f"step {run.step}: v_error {error:.4f} held out", flush=True)
        run.writer.add_scalar("held out/v_error", error, run.step)
        with replacing(options.out / f"sheet_{run.step:06d}.png") as temporary:
            save_image(pictures, temporary, nrow=8)

    run.train(loss_of, sample, own["parts"])


if __name__ == "__main__":
    main()
