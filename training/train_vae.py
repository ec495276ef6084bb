"""`python -m training.train_vae --data DIR... --out RUN`: makes the demonstration base's autoencoder.

From random weights a small autoencoder needs hours to find what a linear projection knows at once, so it starts as a
linear pair (`linear_pair`). It is trained narrow at high resolutions, where features cost most and few are needed, and
written out in the host's widths, the rest being zeros.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.utils import make_grid, save_image

from bg_core.autoencoder import Autoencoder, widened
from bg_core.base import DEMONSTRATION
from bg_core.files import replacing

from .data import load_masks, load_pictures, read_records, split
from .linear_pair import LinearPair, fit_pair, write
from .metrics.pictures import fine_energy, finest_band, psnr, psnr_edges
from .muon import Muon
from .pca import PATCH, PatchPCA, fit
from .run import Run
from .settings import Settings

CONFIG = Path(__file__).parent / "configs" / "vae.toml"
VALIDATION = 32
"""Pictures that figures are taken on."""


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


def start(folder: Path, pictures: Tensor, settings: Settings) -> tuple[Autoencoder, LinearPair, PatchPCA]:
    """The autoencoder as its training begins, the linear pair that it then equals, and the projection to beat.

    Both are kept in `folder/start.safetensors`: a resumed run may see more pictures than the first one did.
    """
    own, file = settings.options, folder / "start.safetensors"
    widths = tuple(own["widths"])
    if file.exists():
        state = load_file(file)
        projection = PatchPCA(**{key.removeprefix("pca."): state.pop(key) for key in list(state) if key[:4] == "pca."})
        pair = LinearPair(DEMONSTRATION.latent_channels, widths, state["centre"])
        pair.load_state_dict(state)
    else:
        projection = fit(pictures, DEMONSTRATION.latent_channels, seed=settings.seed)
        pair = fit_pair(pictures, projection, widths, own["linear_steps"], own["linear_rate"], settings.seed)
        folder.mkdir(parents=True, exist_ok=True)
        state = pair.state_dict() | {f"pca.{key}": value for key, value in vars(projection).items()}
        with replacing(file) as temporary:
            save_file({key: value.contiguous() for key, value in state.items()}, temporary)
    torch.manual_seed(settings.seed)
    model = Autoencoder(DEMONSTRATION, widths)
    write(pair, model)
    return model.to(memory_format=torch.channels_last), pair.requires_grad_(False), projection


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

    model, pair, projection = start(options.out, pictures, settings)
    run = Run(options.out, settings, {"vae": model}, Muon)
    errors = squared_errors(pictures, projection)
    linear = projection.decode(projection.encode(held)).clamp(0, 1)

    def loss_of(generator: torch.Generator) -> dict[str, Tensor]:
        images = crops(pictures, errors, settings.batch // own["parts"], own["crop"], generator)
        latents = model.encode(images)
        output = model.decode(latents + torch.randn(latents.shape, generator=generator) * own["latent_noise"])
        error = distortion(output, projection.decode(projection.encode(images)), images, own["floor"])
        soft = softness(output, images, own["floor"])
        # latents keep the pair's mean and deviation, channel by channel
        began = pair.encode(images)
        mean, deviation = ([stat(z, (0, 2, 3)) for z in (latents, began)] for stat in (torch.mean, torch.std))
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
            ours = torch.cat([model.decode(model.encode(part)) for part in held.split(8)]).clamp(0, 1)
        with replacing(options.out / "autoencoder.safetensors") as temporary:
            save_file({k: v.contiguous() for k, v in widened(model).state_dict().items()}, temporary)
        run.swap_average()
        for name, output in (("autoencoder", ours), ("pca", linear)):
            figures = {
                "psnr": psnr(output, held, background),
                "psnr_edges": psnr_edges(output, held, background),
                "sharpness": fine_energy(output, background).sum() / fine_energy(held, background).sum(),
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
