"""`python -m training.train_vae --data DIR --out RUN`: makes the demonstration base's autoencoder.

From random weights, end to end, a small autoencoder needs hours to find what a linear projection knows at once. So the
encoder *is* the PCA of 8x8 patches, written into TAESD's layers exactly (`pca.write_encoder`), and only the decoder is
trained: to invert the projection better than linearly, without block edges.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.utils import save_image

from bg_core.autoencoder import Autoencoder
from bg_core.base import DEMONSTRATION, grey_out
from bg_core.files import replacing

from .data import load_masks, load_pictures, read_records, split
from .pca import PatchPCA, fit, write_encoder
from .picture_metrics import psnr, psnr_edges, sharpness
from .run import Run, Settings

CONFIG = Path(__file__).parent / "configs" / "vae.toml"


def crops(pictures: Tensor, masks: Tensor, batch: int, side: int, generator: torch.Generator) -> Tensor:
    """[batch,3,side,side] in [0,1]; a quarter has its background greyed out, as the inpainting input needs it."""
    n, _, height, width = pictures.shape
    which = torch.randint(n, (batch,), generator=generator)
    top = torch.randint(height - side + 1, (batch,), generator=generator)
    left = torch.randint(width - side + 1, (batch,), generator=generator)
    flip = torch.rand(batch, generator=generator) < 0.5
    out = []
    for i in range(batch):
        rows, columns = slice(top[i], top[i] + side), slice(left[i], left[i] + side)
        image = pictures[which[i]][:, rows, columns].float() / 255
        if i % 4 == 0:
            background = 1 - masks[which[i]][:, rows, columns].float() / 255
            image = grey_out(image[None], background[None])[0]
        out.append(image.flip(-1) if flip[i] else image)
    return torch.stack(out)


def picture_loss(output: Tensor, target: Tensor, gradient: float) -> Tensor:
    """L1 on pixels and on their differences: squares alone would blur edges, whose share of the picture is small."""
    loss = (output - target).abs().mean()
    for dim in (2, 3):
        loss = loss + gradient * (output.diff(dim=dim) - target.diff(dim=dim)).abs().mean()
    return loss


def new_autoencoder(folder: Path, pictures: Tensor, seed: int) -> tuple[Autoencoder, PatchPCA]:
    """A fresh decoder behind the projection of `folder/projection.safetensors`, which is fitted when it isn't there.

    Kept on disk, since a resumed run may see more pictures than the first one did.
    """
    file = folder / "projection.safetensors"
    if file.exists():
        projection = PatchPCA(**load_file(file))
    else:
        projection = fit(pictures, DEMONSTRATION.latent_channels, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            save_file({key: value.contiguous() for key, value in vars(projection).items()}, temporary)
    torch.manual_seed(seed)
    model = Autoencoder(DEMONSTRATION)
    write_encoder(projection, model)
    return model, projection


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train_vae", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run goes on from there")
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args(arguments)
    settings = Settings.read(options.config)
    training, validation = split(read_records(options.data))
    pictures, masks = load_pictures(training), load_masks(training)
    held, held_masks = load_pictures(validation[:32]), load_masks(validation[:32])

    model, projection = new_autoencoder(options.out, pictures, settings.seed)
    decoder = model.taesd_decoder.to(memory_format=torch.channels_last)  # half the time of the default on CPUs
    run = Run(options.out, settings, {"taesd_decoder": decoder})
    own = settings.options

    def loss_of(generator: torch.Generator) -> dict[str, Tensor]:
        images = crops(pictures, masks, settings.batch, own["crop"], generator)
        latents = projection.encode(images)
        noise = torch.randn(latents.shape, generator=generator) * own["latent_noise"]
        output = model.decode((latents + noise).to(memory_format=torch.channels_last))
        return {"loss": picture_loss(output, images, own["gradient"])}

    def sample() -> None:
        run.swap_average()
        report(model, projection, held, held_masks, options.out)
        with replacing(options.out / "autoencoder.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, temporary)
        run.swap_average()

    run.train(loss_of, sample)


@torch.no_grad()
def report(model: Autoencoder, projection: PatchPCA, pictures: Tensor, masks: Tensor, folder: Path) -> None:
    """Prints figures on held-out pictures and saves them beside their reconstructions."""
    images = pictures.float() / 255
    background = 1 - masks.float() / 255
    latents = projection.encode(images)
    ours = torch.cat([model.decode(batch) for batch in latents.split(8)]).clamp(0, 1)
    linear = projection.decode(latents).clamp(0, 1)
    for name, output in (("autoencoder", ours), ("pca", linear)):
        print(
            f"{name}: psnr {psnr(output, images, background).mean():.2f} dB, "
            f"on edges {psnr_edges(output, images, background).mean():.2f} dB, "
            f"sharpness {sharpness(output, images, background).mean():.3f}",
            flush=True,
        )
    with replacing(folder / "reconstruction.png") as temporary:
        save_image(torch.cat([images[:8], ours[:8], linear[:8]]), temporary, nrow=8)


if __name__ == "__main__":
    main()
