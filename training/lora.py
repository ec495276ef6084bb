"""Low-rank additions (arXiv 2106.09685) to the projections of a UNet's cross-attention, and their files.

Files have the names that ComfyUI's stock LoRA loader reads, and beside them our metadata.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bg_core import weights
from bg_core.errors import ProductBackgroundError

KIND = "lora"
LAYERS = ("attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0")
PREFIX = "lora_unet_"


class LoraLinear(nn.Module):
    """A frozen linear layer plus scale * up(down(x)); `up` starts at zero, so nothing changes at first."""

    def __init__(self, layer: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.layer, self.scale = layer, scale
        like = layer.weight
        self.down = nn.Parameter(torch.randn(rank, like.shape[1], device=like.device) * like.shape[1] ** -0.5)
        self.up = nn.Parameter(torch.zeros(like.shape[0], rank, device=like.device))

    def forward(self, x: Tensor) -> Tensor:
        added = F.linear(F.linear(x, self.down.to(x.dtype)), self.up.to(x.dtype))
        return self.layer(x) + self.scale * added


class Lora(nn.Module):
    """The additions of one UNet, as a module of their own: what is trained, averaged and saved."""

    def __init__(self, layers: Mapping[str, LoraLinear], rank: int, alpha: float) -> None:
        super().__init__()
        self.rank, self.alpha = rank, alpha
        self.names = list(layers)
        self.layers = list(layers.values())  # not registered: the frozen weights inside are not ours
        self.down = nn.ParameterList([layer.down for layer in self.layers])
        self.up = nn.ParameterList([layer.up for layer in self.layers])

    def tensors(self) -> dict[str, Tensor]:
        """As a file holds them."""
        out = {}
        for name, down, up in zip(self.names, self.down, self.up, strict=True):
            key = PREFIX + name.replace(".", "_")
            out[f"{key}.lora_down.weight"] = down.detach()
            out[f"{key}.lora_up.weight"] = up.detach()
            out[f"{key}.alpha"] = torch.tensor(float(self.alpha))
        return out

    def save(self, path: str | os.PathLike[str], base: str, training: Mapping[str, Any]) -> Path:
        config = {"rank": self.rank, "alpha": self.alpha, "layers": LAYERS}
        return weights.save(path, self.tensors(), kind=KIND, base=base, config=config, training=training)

    def load(self, path: str | os.PathLike[str], base: str) -> None:
        """Take over a file's numbers. Raises ProductBackgroundError for one of another base, rank or UNet."""
        shapes = {key: tuple(value.shape) for key, value in self.tensors().items()}
        _, file = weights.load_checked(path, KIND, base, shapes)
        with torch.no_grad():
            for name, down, up in zip(self.names, self.down, self.up, strict=True):
                key = PREFIX + name.replace(".", "_")
                down.copy_(file[f"{key}.lora_down.weight"])
                up.copy_(file[f"{key}.lora_up.weight"])


def add_lora(unet: nn.Module, rank: int, alpha: float) -> Lora:
    """Put additions into every cross-attention layer of `unet`, in place; drawn from torch's global generator."""
    lora = _additions(unet, rank, alpha)
    for name, layer in zip(lora.names, lora.layers, strict=True):
        parent, _, last = name.rpartition(".")
        owner = unet.get_submodule(parent)
        if isinstance(owner, nn.ModuleList):
            owner[int(last)] = layer
        else:
            setattr(owner, last, layer)
    return lora


def _additions(unet: nn.Module, rank: int, alpha: float) -> Lora:
    """Additions to the layers of `unet`, which they leave as they are."""
    found = {name: layer for name, layer in unet.named_modules() if name.endswith(LAYERS)}
    if not found or any(isinstance(layer, LoraLinear) for layer in found.values()):
        raise ProductBackgroundError(
            f"Expected a UNet with plain cross-attention layers to add a LoRA to; found {len(found)} of them."
        )
    return Lora({name: LoraLinear(layer, rank, alpha / rank) for name, layer in found.items()}, rank, alpha)


def lora_beside(weights_file: Path, name: str) -> Path:
    """The LoRA that a category file names: in its own folder, or in `loras` beside that folder, as in ComfyUI's models.

    Raises ProductBackgroundError where it is in neither: identifiers trained with a LoRA mean little without it.
    """
    places = [weights_file.parent / name, weights_file.parent.parent / "loras" / name]
    for place in places:
        if place.is_file():
            return place
    raise ProductBackgroundError(
        f"{weights_file} was trained with the LoRA {name}, which is neither {places[0]} nor {places[1]}. Put it there."
    )


@torch.no_grad()
def load_lora(unet: nn.Module, path: str | os.PathLike[str], base: str) -> None:
    """Adds a file's LoRA to the weights of `unet`, in place, as ComfyUI does: a step then costs what it did before."""
    config = weights.read_header(path).config
    lora = _additions(unet, int(config["rank"]), float(config["alpha"]))
    lora.load(path, base)
    for layer in lora.layers:
        layer.layer.weight += layer.scale * (layer.up @ layer.down)
