"""The autoencoder's start: its own chain of convolutions without any ReLU, trained as the linear map that it then is.

A linear encoder and decoder that move with the picture are one kernel each, 40x40 pixels in steps of 8, and the kernels
are what a single lit cell leaves behind. So a training step composes two small kernels and applies them to whole
pictures, for a hundredth of what the layers themselves would cost. In some two minutes the pair is as good as the PCA
of 8x8 patches, without its block edges, which the layers under their ReLUs reach only after hours.

`write` puts it into the network exactly: each feature goes through the ReLUs twice, once with either sign.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import trange

from bg_core.autoencoder import Autoencoder, Block, Widths

from .muon import Muon
from .pca import PATCH, PatchPCA

CELLS = 5
"""Width of the kernels in latent cells; what the layers see from one cell lies within."""
BATCH = 16
WARMUP = 20
FLOOR = 4e-6
"""Squared error that doesn't matter (54 dB)."""


class LinearPair(nn.Module):
    """Pictures [B,3,H,W] to latents [B,C,H/8,W/8] and back, in as many layers as `Autoencoder`, half as wide."""

    centre: Tensor

    def __init__(self, channels: int, widths: Widths, centre: Tensor) -> None:
        """`centre` [3]: the mean colour of pictures."""
        super().__init__()
        full, half, quarter, eighth = (width // 2 for width in widths)
        self.analysis = _kernels(3, full, half, quarter, eighth, channels)
        self.synthesis = _kernels(channels, eighth, quarter, half, full, 3)
        self.channels = channels
        self.register_buffer("centre", centre.clone())

    def encode(self, images: Tensor) -> Tensor:
        """[B,3,H,W] in [0,1] -> [B,C,H/8,W/8]; a picture goes on beyond its border as it is there."""
        margin = CELLS // 2 * PATCH
        around = F.pad(images - self.centre.view(3, 1, 1), (margin,) * 4, mode="replicate")
        return F.conv2d(F.pixel_unshuffle(around, PATCH), self._analysis_kernel())

    def decode(self, latents: Tensor) -> Tensor:
        """[B,C,h,w] -> [B,3,8h,8w]."""
        around = F.pad(latents, (CELLS // 2,) * 4, mode="replicate")
        patches = F.conv2d(around, self._synthesis_kernel())
        return F.pixel_shuffle(patches, PATCH) + self.centre.view(3, 1, 1)

    def _analysis_kernel(self) -> Tensor:
        """[C,192,5,5]: pixels of 5x5 cells -> the middle cell's latents, by the layers' transposes."""
        *strided, last = self.analysis[1:]
        cells = F.conv_transpose2d(self._lit(), last, padding=1)
        for kernel in reversed(strided):
            cells = F.conv_transpose2d(cells, kernel, stride=2, padding=1, output_padding=1)
        return F.pixel_unshuffle(F.conv_transpose2d(cells, self.analysis[0], padding=1), PATCH)

    def _synthesis_kernel(self) -> Tensor:
        """[192,C,5,5]: latents of 5x5 cells -> the middle cell's pixels."""
        first, *doubled, last = self.synthesis
        cells = F.conv2d(self._lit(), first, padding=1)
        for kernel in doubled:
            cells = F.conv2d(F.interpolate(cells, scale_factor=2), kernel, padding=1)
        spread = F.pixel_unshuffle(F.conv2d(cells, last, padding=1), PATCH)  # [C,192,5,5]: where a lit cell goes
        return spread.flip(-1, -2).transpose(0, 1)

    def _lit(self) -> Tensor:
        """[C,C,5,5]: one latent of the middle cell is one, each in its own picture."""
        lit = torch.zeros(self.channels, self.channels, CELLS, CELLS)
        lit[range(self.channels), range(self.channels), CELLS // 2, CELLS // 2] = 1
        return lit


def fit_pair(pictures: Tensor, projection: PatchPCA, widths: Widths, steps: int, rate: float, seed: int) -> LinearPair:
    """Trains a pair on `pictures` [N,3,H,W] uint8; its latents come out uncorrelated and scaled as PCA's are."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    centre = pictures[:256].float().mean((0, 2, 3)) / 255
    pair = LinearPair(len(projection.scale), widths, centre)
    optimizer = Muon(pair.parameters(), lr=rate)
    for step in trange(steps, unit="step", desc="linear start", mininterval=5):
        left = max(0.002, 1 - step / steps)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / WARMUP) * left**1.5  # the last dB come as the rate falls
        images = pictures[torch.randint(len(pictures), (BATCH,), generator=generator)].float() / 255
        latents = pair.encode(images)
        ours, theirs = (
            ((output - images) ** 2).mean((1, 2, 3)) + FLOOR
            for output in (pair.decode(latents), projection.decode(projection.encode(images)))
        )
        spread = latents.std((0, 2, 3)).log().pow(2).mean()  # any scale would do; this one keeps numbers in range
        loss = torch.log(ours / theirs).mean() + 0.001 * spread
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    _turn(pair, pictures[:256])
    return pair


@torch.no_grad()
def _turn(pair: LinearPair, pictures: Tensor) -> None:
    """Rotates the latents to their principal axes and scales them as `pca.fit` does; decoded pictures stay the same."""
    latents = torch.cat([pair.encode(part.float() / 255) for part in pictures.split(32)])
    values, axes = torch.linalg.eigh(torch.cov(latents.transpose(0, 1).flatten(1).double()))
    deviation, axes = values.flip(0).sqrt(), axes.flip(1)
    scale = deviation.sqrt()
    scale = scale * ((deviation / scale) ** 2).mean().sqrt()
    last, first = pair.analysis[-1], pair.synthesis[0]
    last.copy_(torch.einsum("jk,jixy->kixy", (axes / scale).float(), last))
    first.copy_(torch.einsum("ojxy,jk->okxy", first, (axes * scale).float()))


@torch.no_grad()
def write(pair: LinearPair, model: Autoencoder) -> None:
    """Sets `model`, of the pair's widths, to the pair: equal but near borders, where layers pad with zeros, and for the
    clamp. Residual blocks add nothing yet, and learn from the first step on.
    """
    for module in model.modules():
        if isinstance(module, Block):
            for layer in module.conv:
                if isinstance(layer, nn.Conv2d):
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    layer.bias.zero_()
            module.conv[-1].weight.zero_()
    for layers, kernels in ((model.taesd_encoder, pair.analysis), (model.taesd_decoder, pair.synthesis)):
        convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
        for index, (layer, kernel) in enumerate(zip(convolutions, kernels, strict=True)):
            signed = kernel if index == 0 else torch.cat([kernel, -kernel], 1)
            if index < len(convolutions) - 1:
                signed = torch.cat([signed, -signed])
            layer.weight.copy_(signed)
            if layer.bias is not None:
                layer.bias.zero_()
    scale = model.vae_scale
    model.taesd_encoder[-1].weight.mul_(scale)
    model.taesd_decoder[1].weight.div_(scale)
    entering = torch.einsum("oixy,i->o", pair.analysis[0], pair.centre)
    model.taesd_encoder[0].bias.copy_(-torch.cat([entering, -entering]))
    model.taesd_decoder[-1].bias.copy_(pair.centre)


def _kernels(*widths: int) -> nn.ParameterList:
    kernels = nn.ParameterList()
    for inputs, outputs in pairwise(widths):
        kernel = torch.empty(outputs, inputs, 3, 3)
        nn.init.orthogonal_(kernel.view(outputs, -1))
        kernels.append(nn.Parameter(kernel))
    return kernels
