"""Linear PCA of 8x8 patches: what the autoencoder's encoder starts from, and the baseline it has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bg_core.autoencoder import WIDTH, Autoencoder, Block

PATCH = 8


@dataclass(frozen=True)
class PatchPCA:
    """`mean` [192], `basis` [192,C] orthonormal columns, `scale` [C]: coefficient / scale is the latent."""

    mean: Tensor
    basis: Tensor
    scale: Tensor

    def kernel(self) -> tuple[Tensor, Tensor]:
        """Weight [C,3,8,8] and bias [C] of the convolution that encodes."""
        weight = (self.basis / self.scale).T.reshape(-1, 3, PATCH, PATCH)
        return weight, -((self.mean @ self.basis) / self.scale)

    def encode(self, images: Tensor) -> Tensor:
        """[B,3,H,W] in [0,1] -> [B,C,H/8,W/8]."""
        return F.conv2d(images, *self.kernel(), stride=PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """The least-squares picture [B,3,8h,8w]."""
        weight = (self.basis * self.scale).T.reshape(-1, 3, PATCH, PATCH)
        bias = self.mean.reshape(1, 3, PATCH, PATCH).repeat(1, 1, *latents.shape[-2:])
        return F.conv_transpose2d(latents, weight, stride=PATCH) + bias


def fit(images: Tensor, channels: int, patches: int = 200_000, seed: int = 0) -> PatchPCA:
    """Fits `channels` components to random patches of `images` [N,3,H,W] uint8.

    Each coefficient is divided by the root of its deviation, so that strong components stay stronger than weak ones and
    noise isn't amplified to unit variance; a common factor makes the mean variance of the latents 1.
    """
    generator = torch.Generator().manual_seed(seed)
    n, _, height, width = images.shape
    which = torch.randint(n, (patches,), generator=generator)
    top = torch.randint(height - PATCH + 1, (patches,), generator=generator)
    left = torch.randint(width - PATCH + 1, (patches,), generator=generator)
    rows = top[:, None] + torch.arange(PATCH)
    columns = left[:, None] + torch.arange(PATCH)
    picked = images[which[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # [P,8,8,3]
    x = picked.permute(0, 3, 1, 2).reshape(patches, -1).double() / 255
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / patches)
    basis = vectors[:, -channels:].flip(1)
    deviation = values[-channels:].flip(0).sqrt()
    scale = deviation.sqrt()
    scale = scale * ((deviation / scale) ** 2).mean().sqrt()
    return PatchPCA(mean.float(), basis.float(), scale.float())


@torch.no_grad()
def close_blocks(layers: nn.Sequential) -> None:
    """Makes every residual block a plain ReLU, random inside: training opens it."""
    for block in layers:
        if isinstance(block, Block):
            for layer in block.conv:
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    layer.bias.zero_()
            block.conv[-1].weight.zero_()


@torch.no_grad()
def write_encoder(projection: PatchPCA, model: Autoencoder) -> None:
    """Sets the encoder's weights so that `model.encode` is `projection.encode`, exactly, and can still learn.

    A picture is not negative, so a ReLU passes it, and a residual block whose last convolution is zero passes what it
    gets. The first two strided convolutions only move pixels into channels (2x2 of 3 to 12, 2x2 of 12 to 48); the third
    sees a whole patch and projects it, each component once with either sign for the ReLU; the last layer subtracts.
    Channels that this leaves over keep random weights, from which nothing flows back into the projection yet.
    """
    first, *strided, last = (layer for layer in model.taesd_encoder if isinstance(layer, nn.Conv2d))
    close_blocks(model.taesd_encoder)
    for layer, used in zip((first, *strided), (3, 12, 48, 2 * len(projection.scale)), strict=True):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layer.weight[:used].zero_()
    for layer in (first, last):
        layer.bias.zero_()
    last.weight.zero_()
    for channel in range(3):
        first.weight[channel, channel, 1, 1] = 1.0
    place = {(channel, 0, 0): channel for channel in range(3)}  # (colour, row, column within the patch) -> channel
    for layer in strided[:2]:
        moved: dict[tuple[int, int, int], int] = {}
        for (colour, row, column), source in place.items():
            side = {3: 1, 12: 2}[len(place)]
            for dy in range(2):
                for dx in range(2):
                    target = len(moved)
                    # with padding 1 and stride 2 the kernel's taps 1 and 2 lie on the cell's own two pixels
                    layer.weight[target, source, 1 + dy, 1 + dx] = 1.0
                    moved[(colour, row + dy * side, column + dx * side)] = target
        place = moved
    weight, bias = projection.kernel()
    components = len(bias)
    if 2 * components > WIDTH:
        raise ValueError(f"Expected at most {WIDTH // 2} components, got {components}.")
    # the strided convolutions have no bias: the mean of the patch is taken off in the last layer
    for (colour, row, column), source in place.items():
        for dy in range(2):
            for dx in range(2):
                tap = weight[:, colour, row + dy * 4, column + dx * 4]
                strided[2].weight[:components, source, 1 + dy, 1 + dx] = tap
                strided[2].weight[components : 2 * components, source, 1 + dy, 1 + dx] = -tap
    unit = model.vae_scale
    for component in range(components):
        last.weight[component, component, 1, 1] = unit
        last.weight[component, components + component, 1, 1] = -unit
    last.bias.copy_(bias * unit)
