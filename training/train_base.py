"""`python -m training.train_base --data DIR --autoencoder RUN --out RUN`: trains the demonstration base.

Text encoder and UNet learn together, from random weights, to paint what surrounds a masked product: v-prediction with
zero terminal SNR on the autoencoder's latents, most steps on small pictures, the last part on full ones.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torchvision.utils import save_image

from bg_core.autoencoder import Autoencoder, narrowed
from bg_core.base import DEMONSTRATION, inpainting_input
from bg_core.files import replacing

from .base_batch import Batches
from .data import load_masks, load_pictures, read_records, split
from .diffusion import demonstration_diffusion
from .export import new_text_encoder, new_unet
from .render.catalog import LIGHTS, PALETTE, PROPS, SURFACES, WALLS
from .render.categories import CATEGORIES
from .run import Run, Settings
from .sampling import ddim
from .text import Vocabulary

CONFIG = Path(__file__).parent / "configs" / "base.toml"
SHEET = 16  # pictures on a sample sheet


def vocabulary() -> Vocabulary:
    """All words the recipe can say, whether or not a picture says them yet: the rows stay the same as data grows."""
    phrases = [phrase for table in (SURFACES, WALLS, LIGHTS, PROPS) for options in table.values() for phrase in options]
    said = [phrase.format(colour=colour) for phrase, colour in product(phrases, PALETTE)]
    said += [word for category in CATEGORIES.values() for word in category.words]
    return Vocabulary.from_captions([*said, "product photo of a, an on in front of with and left right"])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train_base", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--autoencoder", type=Path, required=True, help="run folder of training.train_vae")
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run goes on from there")
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args(arguments)
    settings = Settings.read(options.config)
    own = settings.options

    training, validation = split(read_records(options.data))
    coder = load_autoencoder(options.autoencoder)
    batches = batches_of(training, coder)
    held = batches_of(validation[:SHEET], coder)

    words = vocabulary()
    torch.manual_seed(settings.seed)
    unet, text = new_unet(), new_text_encoder(words)
    unet.to(memory_format=torch.channels_last)
    run = Run(options.out, settings, {"unet": unet, "text": text})
    diffusion = demonstration_diffusion()

    def context(captions: list[str], generator: torch.Generator | None = None) -> Tensor:
        rows = words.encode(captions)
        if generator is not None:
            rows = words.drop_words(rows, own["drop_words"], generator)
        return text(rows).last_hidden_state

    def loss_of(generator: torch.Generator) -> dict[str, Tensor]:
        large = run.step >= settings.steps * (1 - own["large_share"])
        batch = batches.draw(settings.batch, own["large" if large else "small"], own["drop_caption"], generator)
        t = diffusion.times(settings.batch, generator)
        noise = torch.randn(batch.latents.shape, generator=generator)
        noisy = inpainting_input(diffusion.noisy(batch.latents, noise, t), batch.mask, batch.masked)
        output = unet(noisy, t, context(batch.captions, generator)).sample
        error = (output - diffusion.target(batch.latents, noise, t)) ** 2
        region = own["product_weight"] + (1 - own["product_weight"]) * batch.mask
        weight = diffusion.weight(t, own["snr_gamma"], own["weight_floor"])
        return {"loss": ((error * region).mean((1, 2, 3)) * weight).mean(), "v_error": error.mean().detach()}

    def sample() -> None:
        generator = torch.Generator().manual_seed(0)
        batch = held.draw(SHEET, own["large"], 0.0, generator)
        noise = torch.randn(batch.latents.shape, generator=generator)
        run.swap_average()
        with torch.no_grad():
            latents = ddim(
                lambda x, t, c: unet(x, t, c).sample,
                noise, batch.mask, batch.masked, context(batch.captions), context([""] * SHEET),
            )  # fmt: skip
            pictures = torch.cat([coder.decode(latents), coder.decode(batch.latents)]).clamp(0, 1)
        run.swap_average()
        with replacing(options.out / f"sheet_{run.step:06d}.png") as temporary:
            save_image(pictures, temporary, nrow=8)

    run.train(loss_of, sample)


def batches_of(records: list, coder: Autoencoder) -> Batches:
    return Batches(load_pictures(records), load_masks(records), [r.caption for r in records], coder)


def load_autoencoder(folder: Path) -> Autoencoder:
    """The autoencoder of a run of `training.train_vae`, without the zeros that it is stored with."""
    model = Autoencoder(DEMONSTRATION)
    model.load_state_dict(load_file(folder / "autoencoder.safetensors"))
    return narrowed(model).eval()


if __name__ == "__main__":
    main()
