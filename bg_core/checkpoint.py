"""What a checkpoint of the demonstration base holds beyond the tensors that ComfyUI itself expects.

- Beside the UNet: the format version, the latent of a blank picture, and colours for live previews.
- In the text encoder: an embedding of only the words it was taught, plus `vocabulary`, the tokenizer id of each row.
  Its row `UNKNOWN` stands for all other words. 49,408 rows would be a third of the file, for words it never saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from .base import DEMONSTRATION, HOST_VOCABULARY_SIZE, UNKNOWN
from .errors import ProductBackgroundError
from .weights import FORMAT_VERSION, check_version

KIND = "base"

UNET_PREFIX = "model.diffusion_model."
TEXT_PREFIX = "cond_stage_model."
AUTOENCODER_PREFIX = "first_stage_model."
EMBEDDING = "transformer.text_model.embeddings.token_embedding.weight"
VOCABULARY = "vocabulary"

VERSION_KEY = "product_background_version"
BLANK_KEY = "product_background_blank_latent"
COLOURS_KEY = "product_background_latent_rgb"
EXTRA_KEYS = (VERSION_KEY, BLANK_KEY, COLOURS_KEY)


@dataclass(frozen=True)
class Extras:
    """The tensors beside the UNet: `blank_latent` [C] float32, `latent_rgb` [C+1,3] float32 or None."""

    blank_latent: Tensor
    latent_rgb: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """As they are stored, without a prefix."""
        stored = {VERSION_KEY: torch.tensor(FORMAT_VERSION), BLANK_KEY: self.blank_latent.float()}
        if self.latent_rgb is not None:
            stored[COLOURS_KEY] = self.latent_rgb.float()
        return stored


def read_extras(state_dict: Mapping[str, Tensor], prefix: str = "") -> Extras:
    """Take the extra tensors from a checkpoint's state dict, and check them. A bare UNet gets a blank of zeros."""
    version = state_dict.get(prefix + VERSION_KEY)
    if version is not None:
        check_version(int(version), "This checkpoint")
    channels = DEMONSTRATION.latent_channels
    blank = state_dict.get(prefix + BLANK_KEY, torch.zeros(channels))
    colours = state_dict.get(prefix + COLOURS_KEY)
    _expect(BLANK_KEY, blank, (channels,))
    if colours is not None:
        _expect(COLOURS_KEY, colours, (channels + 1, 3))
    return Extras(blank.float(), None if colours is None else colours.float())


def without_extras(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A UNet's own tensors alone."""
    return {key: tensor for key, tensor in state_dict.items() if key not in EXTRA_KEYS}


def expand_vocabulary(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Turn the trimmed embedding under `prefix` into one of every tokenizer id, and drop `vocabulary`.

    A state dict without `vocabulary` (a checkpoint that ComfyUI saved again) is whole already and is returned as it is.
    """
    expanded = dict(state_dict)
    vocabulary = expanded.pop(prefix + VOCABULARY, None)
    if vocabulary is None:
        return expanded
    table = expanded[prefix + EMBEDDING]
    _expect(EMBEDDING, table, (len(vocabulary), DEMONSTRATION.context_width))
    known = vocabulary != UNKNOWN
    if int((~known).sum()) != 1 or not bool(((vocabulary >= UNKNOWN) & (vocabulary < HOST_VOCABULARY_SIZE)).all()):
        raise ProductBackgroundError(
            f"Bad vocabulary in this checkpoint. Expected tokenizer ids below {HOST_VOCABULARY_SIZE} and one "
            f"row for unknown words ({UNKNOWN})."
        )
    whole = table[~known].repeat(HOST_VOCABULARY_SIZE, 1)
    whole[vocabulary[known].long()] = table[known]
    expanded[prefix + EMBEDDING] = whole
    return expanded


def _expect(name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ProductBackgroundError(
            f"Bad {name} in this checkpoint. Expected shape {list(shape)}, got {list(tensor.shape)}."
        )
