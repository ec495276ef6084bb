"""References without trained weights: the model runs on them in every step, and its self-attention looks there too."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..bg_core.errors import ProductBackgroundError
from ..bg_core.self_reference import Recorded, SelfGuide, added
from ..bg_core.style_plan import Reach
from .guided_attention import Patch, stock_attention
from .unet_layers import Layer

SEED = 0
"""Of the noise on the references: the same in every run."""


class SelfRun:
    """What the references of one batch layout give to the self-attention of `layers`, step by step."""

    def __init__(self, reach: Reach, layers: tuple[Layer, ...]) -> None:
        self.reach, self.layers = reach, layers
        self.recorded = [Recorded(guide) for guide in reach.guides if isinstance(guide, SelfGuide)]
        self._noise: dict[int, Tensor] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> SelfRun:
        return self

    def record(self, model: Any, sigma: Tensor, context: Tensor, options: dict[str, Any], more: dict[str, Any]) -> None:
        """Runs `model` (ComfyUI's BaseModel) on each reference at the noise level `sigma` [rows].

        With the text of the first row that it acts on, and with no other pack's patch: those know the picture's rows.
        """
        first = self.reach.spans[0].start
        for recorded in self.recorded:
            latents = recorded.guide.latents.to(sigma.device, torch.float32)
            count = len(latents)
            noise = self._noise.get(id(recorded))
            if noise is None:
                generator = torch.Generator().manual_seed(SEED)
                noise = self._noise[id(recorded)] = torch.randn(latents.shape, generator=generator).to(latents)
            level = sigma[first : first + 1]
            noisy = model.model_sampling.noise_scaling(level.view(1, 1, 1, 1), noise, latents)
            patches = {layer: _Recorder(recorded, layer) for layer in self.layers}
            model._apply_model(
                noisy,
                level.expand(count),
                _concat(model, latents),
                context[first : first + 1].expand(count, -1, -1),
                None,
                {"patches_replace": {"attn1": patches}, "cond_or_uncond": [0], "sigmas": options.get("sigmas")},
                **{name: _first_rows(value, first, count) for name, value in more.items()},
            )


class _Recorder:
    """Self-attention as it is, that keeps keys and values."""

    def __init__(self, recorded: Recorded, layer: Layer) -> None:
        self.recorded, self.layer = recorded, layer

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        self.recorded.keep(self.layer, k, v, tuple(extra_options["activations_shape"][-2:]))
        return stock_attention(q, k, v, extra_options)


class SelfAttention:
    """One layer's self-attention patch: the stock attention, or another pack's, and what the references change."""

    def __init__(self, run: SelfRun, layer: Layer, previous: Patch | None) -> None:
        self.run, self.layer, self.previous = run, layer, previous

    def __deepcopy__(self, memo: dict[int, Any]) -> SelfAttention:
        return self

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        height, width = extra_options["activations_shape"][-2:]
        if q.shape[0] != self.run.reach.rows or q.shape[1] != height * width:
            raise ProductBackgroundError(
                f"Apply Style Reference expected {self.run.reach.rows} rows of {height * width} places, and got "
                f"{q.shape[0]} of {q.shape[1]}. Another node changes the self-attention's inputs (token merging?). Use "
                "one of the two."
            )
        before = self.previous or stock_attention
        out = before(q, k, v, extra_options)
        heads = extra_options["n_heads"]
        return added(self.run.reach, self.run.recorded, self.layer, (q, k, v), out, heads, (height, width))


def _concat(model: Any, latents: Tensor) -> Tensor | None:
    """What an inpainting model sees beside the noise: nothing of a reference is to be painted, all of it is known."""
    keys = tuple(getattr(model, "concat_keys", ()))
    if not keys:
        return None
    known = {"mask": torch.zeros_like(latents[:, :1]), "masked_image": latents}
    if unknown := [key for key in keys if key not in known]:
        raise ProductBackgroundError(
            f"A reference without trained weights doesn't fit this model: it also reads {', '.join(unknown)}. "
            "Supported are text-to-image and inpainting models."
        )
    return torch.cat([known[key] for key in keys], 1)


def _first_rows(value: Any, first: int, count: int) -> Any:
    """A condition of the picture's rows for the reference's: that of the first row it acts on."""
    if isinstance(value, Tensor) and value.ndim:
        return value[first : first + 1].expand(count, *value.shape[1:])
    return value
