"""`python -m training.train_vae --data DIR... --out RUN`: makes the demonstration base's autoencoder.

From random weights, end to end, a small autoencoder needs hours to find what a linear projection knows at once. So the
encoder starts as the PCA of 8x8 patches, written into TAESD's layers exactly (`pca.write_encoder`), and all residual
blocks start as plain ReLUs: what is left is a nearly linear, shallow network that learns fast and costs an eighth. The
blocks are opened one resolution after the other, the expensive ones last.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.utils import make_grid, save_image

from bg_core.autoencoder import Autoencoder, Block
from bg_core.base import DEMONSTRATION
from bg_core.files import replacing

from .data import load_masks, load_pictures, read_records, split
from .metrics.pictures import finest_band, psnr, psnr_edges, sharpness
from .muon import Muon
from .pca import PATCH, PatchPCA, close_blocks, fit, write_encoder
from .run import Run, Settings

CONFIG = Path(__file__).parent / "configs" / "vae.toml"
VALIDATION = 32
"""Pictures that figures are taken on."""
STRENGTH_OF_OFFSET = 0.5
"""Decoder's features start this far above zero: its ReLUs let nearly everything pass, so it starts nearly linear."""


@torch.no_grad()
def squared_errors(pictures: Tensor, projection: PatchPCA) -> Tensor:
    """[N,H/8,W/8], the projection's mean squared error in each patch of `pictures` uint8."""
    out = []
    for part in pictures.split(64):
        image = part.float() / 255
        error = (projection.decode(projection.encode(image)) - image) ** 2
        out.append(F.avg_pool2d(error.mean(1), PATCH))
    return torch.cat(out)


def crops(pictures: Tensor, errors: Tensor, batch: int, side: int, generator: torch.Generator) -> Tensor:
    """[batch,3,side,side] in [0,1], half of them mirrored.

    Each is one of four random ones, drawn in proportion to its share of the `errors` [N,H/8,W/8] in its picture: plain
    walls are soon learned, and a picture's PSNR hangs on the rest.
    """
    n, _, height, width = pictures.shape
    out = []
    for _ in range(batch):
        which = torch.randint(n, (4,), generator=generator).tolist()
        top = torch.randint(height - side + 1, (4,), generator=generator).tolist()
        left = torch.randint(width - side + 1, (4,), generator=generator).tolist()
        shares = []
        for i, y, x in zip(which, top, left, strict=True):
            error = errors[i, y // PATCH : (y + side) // PATCH, x // PATCH : (x + side) // PATCH].mean()
            shares.append(float(error / errors[i].mean().clamp(min=1e-6)) + 0.05)
        k = int(torch.multinomial(torch.tensor(shares), 1, generator=generator))
        image = pictures[which[k]][:, top[k] : top[k] + side, left[k] : left[k] + side].float() / 255
        out.append(image.flip(-1) if torch.rand(1, generator=generator) < 0.5 else image)
    return torch.stack(out).contiguous(memory_format=torch.channels_last)


def distortion(output: Tensor, linear: Tensor, target: Tensor, floor: float) -> Tensor:
    """Mean over pictures of the log-ratio of `output`'s squared error to that of `linear`: -0.23 is 1 dB better."""
    ours, theirs = (((x - target) ** 2).mean((1, 2, 3)) + floor for x in (output, linear))
    return torch.log(ours / theirs).mean()


def softness(output: Tensor, target: Tensor, floor: float, patch: int = 16) -> Tensor:
    """Squared log-ratio of the finest Laplacian band's energy, per patch, weighted by the target's energy there.

    Squared errors alone are smallest with fine texture averaged away; this asks for as much of it as there was.
    """
    ours, theirs = (F.avg_pool2d(finest_band(image).pow(2).mean(1), patch) for image in (output, target))
    ratio = torch.log((ours + floor) / (theirs + floor))
    return (ratio**2 * theirs).sum() / (theirs.sum() + floor)


def through(layers: nn.Sequential, x: Tensor, scale: int, opened: set[int]) -> Tensor:
    """`layers(x)`, but a block at a resolution 1/s with s not in `opened` is a ReLU. `scale`: resolution 1/scale of x.

    Equal to `layers(x)` while the last convolution of every such block has no weights, only much cheaper.
    """
    for layer in layers:
        if isinstance(layer, Block) and scale not in opened:
            x = F.relu(x + layer.conv[-1].bias[:, None, None])
        else:
            x = layer(x)
        if isinstance(layer, nn.Upsample):
            scale //= 2
        elif isinstance(layer, nn.Conv2d) and layer.stride == (2, 2):
            scale *= 2
    return x


def opened(schedule: Mapping[str, int], step: int) -> set[int]:
    """Which resolutions' blocks work at `step`, of a table from s to the step that opens those at 1/s."""
    return {int(scale) for scale, first in schedule.items() if step >= first}


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
    close_blocks(model.taesd_decoder)
    with torch.no_grad():
        for before, layer in zip(model.taesd_decoder, model.taesd_decoder[1:], strict=False):
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            elif isinstance(layer, Block) and not isinstance(before, Block):
                layer.conv[-1].bias.fill_(STRENGTH_OF_OFFSET)
    return model.to(memory_format=torch.channels_last), projection


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train_vae", description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="data sets; a resumed run may have others")
    parser.add_argument("--out", type=Path, required=True, help="run folder; an interrupted run goes on from there")
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--side", type=int, help="frame all pictures to this side, for sets of several sizes")
    options = parser.parse_args(arguments)
    settings = Settings.read(options.config)
    own = settings.options
    halves = [split(read_records(folder)) for folder in options.data]
    pictures = torch.cat([load_pictures(training, options.side) for training, _ in halves])
    each = max(1, VALIDATION // len(halves))
    validation = [record for _, held in halves for record in held[:each]]
    held = load_pictures(validation, options.side).float() / 255
    background = 1 - load_masks(validation, options.side).float() / 255

    model, projection = new_autoencoder(options.out, pictures, settings.seed)
    run = Run(options.out, settings, {"vae": model}, Muon)
    errors = squared_errors(pictures, projection)
    linear = projection.decode(projection.encode(held)).clamp(0, 1)

    def encode(images: Tensor) -> Tensor:
        return through(model.taesd_encoder, images, 1, opened(own["encoder_blocks"], run.step)) / model.vae_scale

    def decode(latents: Tensor) -> Tensor:
        entering = latents * model.vae_scale
        return through(model.taesd_decoder, entering, 8, opened(own["decoder_blocks"], run.step))

    def loss_of(generator: torch.Generator) -> dict[str, Tensor]:
        images = crops(pictures, errors, settings.batch // own["parts"], own["crop"], generator)
        latents = encode(images)
        output = decode(latents + torch.randn(latents.shape, generator=generator) * own["latent_noise"])
        start = projection.encode(images)
        error = distortion(output, projection.decode(start), images, own["floor"])
        soft = softness(output, images, own["floor"])
        # latents keep the projection's mean and deviation, channel by channel
        mean, deviation = ([stat(z, (0, 2, 3)) for z in (latents, start)] for stat in (torch.mean, torch.std))
        drift = ((mean[0] - mean[1]) / deviation[1]).pow(2).mean() + (deviation[0] / deviation[1]).log().pow(2).mean()
        return {
            "loss": error + own["sharpness"] * soft + own["spread"] * drift,
            "distortion": error.detach(),
            "softness": soft.detach(),
            "drift": drift.detach(),
        }

    def sample() -> None:
        run.swap_average()
        with torch.no_grad():
            ours = torch.cat([decode(encode(part)) for part in held.split(8)]).clamp(0, 1)
        with replacing(options.out / "autoencoder.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in model.state_dict().items()}, temporary)
        run.swap_average()
        for name, output in (("autoencoder", ours), ("pca", linear)):
            figures = {
                "psnr": psnr(output, held, background),
                "psnr_edges": psnr_edges(output, held, background),
                "sharpness": sharpness(output, held, background),
            }
            print(
                f"step {run.step}, {name}: " + ", ".join(f"{k} {v.mean():.3f}" for k, v in figures.items()), flush=True
            )
            for key, value in figures.items():
                run.writer.add_scalar(f"{name}/{key}", value.mean(), run.step)
        sheet = make_grid(torch.cat([held[-8:], ours[-8:], linear[-8:]]), nrow=8)
        run.writer.add_image("pictures, autoencoder, pca", sheet, run.step)
        with replacing(options.out / "reconstruction.png") as temporary:
            save_image(sheet, temporary)

    run.train(loss_of, sample, own["parts"])


if __name__ == "__main__":
    main()
