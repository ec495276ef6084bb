"""ComfyUI's model folder `style_weights`, and a style file as ComfyUI moves it between devices."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import comfy.model_management
import comfy.model_patcher

from ..bg_core.style_adapter import StyleAdapter
from ..bg_core.style_config import check_style, load_style
from .weight_folder import WeightFolder

FOLDER = WeightFolder("style_weights", check_style, "style file", "python -m training.train_style")


@dataclass(frozen=True, eq=False)
class StyleWeights:
    """A loaded style file: the family of models it fits, and its adapter in the host's hands."""

    name: str
    base: str
    patcher: Any

    @property
    def adapter(self) -> StyleAdapter:
        adapter = self.patcher.model
        assert isinstance(adapter, StyleAdapter)
        return adapter


def load_style_weights(name: str) -> StyleWeights:
    """A file by the name that the folder lists; refuses others with a message."""
    return style_weights(FOLDER.open(name).path)


def style_weights(path: str | os.PathLike[str]) -> StyleWeights:
    """A file by its path."""
    header, adapter = load_style(path)
    patcher = comfy.model_patcher.ModelPatcher(
        adapter,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
    return StyleWeights(header.path.name, header.base, patcher)
