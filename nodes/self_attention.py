"""References without trained weights: the model runs on them in every step, and its self-attention looks there too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from comfy.ldm.modules.attention import attention_pytorch, get_attn_precision, optimized_attention
from comfy.ldm.modules.diffusionmodules.openaimodel import Downsample, Upsample
from torch import Tensor

from ..bg_core.errors import ProductBackgroundError
from ..bg_core.self_reference import Recorded, SelfGuide, added
from ..bg_core.style_plan import Reach
from .guided_attention import Patch, stock_attention
from .unet_layers import Layer, modules_of

SEED = 0
"""Of the noise on the references: the same in every run."""


@dataclass(frozen=True)
class _Beside:
    """What of one guide's references is the same in every step of a run: T texts times R references, in this order.

    `rows` [T*R]: the picture's row that each is read with. `concat`: what an inpainting model sees beside the noise.
    """

    recorded: Recorded
    rows: Tensor
    latents: Tensor
    noise: Tensor
    concat: Tensor | None
    patches: dict[Layer, _Recorder]


class SelfRun:
    """What the references of one batch layout give to the self-attention of `layers`, step by step."""

    def __init__(self, reach: Reach, layers: tuple[Layer, ...]) -> None:
        self.reach, self.layers = reach, layers
        self.recorded: list[Recorded] = []
        self._beside: list[_Beside] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> SelfRun:
        return self

    def record(self, model: Any, sigma: Tensor, context: Tensor, options: dict[str, Any], more: dict[str, Any]) -> None:
        """Runs `model` (ComfyUI's BaseModel) on the references at the noise level `sigma` [rows].

        With the texts of the rows that they act on, and with no other pack's patch: those know the picture's rows.
        """
        if not self._beside:
            self._prepare(model, len(options["cond_or_uncond"]))
        for beside in self._beside:
            level = sigma[beside.rows]
            model._apply_model(
                model.model_sampling.noise_scaling(level.view(-1, 1, 1, 1), beside.noise, beside.latents),
                level,
                beside.concat,
                context[beside.rows],
                None,
                {
                    "patches_replace": {"attn1": beside.patches},
                    "cond_or_uncond": [0] * beside.recorded.texts,
                    "sigmas": options.get("sigmas"),
                },
                **{name: _of_rows(value, beside.rows, self.reach.rows) for name, value in more.items()},
            )

    def _prepare(self, model: Any, chunks: int) -> None:
        """Everything that a step would else make anew, or wait for, before the first of `chunks` conditionings runs."""
        reach, batch = self.reach, self.reach.rows // chunks
        texts = [row for span in reach.spans for row in range(span.start, span.stop, batch)]
        for guide in reach.guides:
            noise = torch.randn(guide.latents.shape, generator=torch.Generator().manual_seed(SEED))
            latents, noise = (
                given.to(reach.device, torch.float32).repeat(len(texts), 1, 1, 1) for given in (guide.latents, noise)
            )
            rows = torch.tensor([text + i for text in texts for i in range(guide.references)], device=reach.device)
            recorded = self._roomy(guide, len(texts), model)
            patches = {layer: _Recorder(recorded, layer) for layer in self.layers}
            self.recorded.append(recorded)
            self._beside.append(_Beside(recorded, rows, latents, noise, beside_the_noise(model, latents), patches))

    def _roomy(self, guide: SelfGuide, texts: int, model: Any) -> Recorded:
        """A record that has room for each layer."""
        recorded, reach = Recorded(guide, texts), self.reach
        modules, halvings = modules_of(model), _halvings(model.diffusion_model)
        height, width = guide.latents.shape[-2:]
        for layer in self.layers:
            divisor = 2 ** halvings[layer[:2]]
            size = -(-height // divisor), -(-width // divisor)
            channels = modules[layer].heads * modules[layer].dim_head
            recorded.make_room(layer, size, channels, reach.dtype, reach.device)
        return recorded


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
                f"{q.shape[0]} of {q.shape[1]}. Another node changes the self-attention's inputs (token merging, "
                "HyperTile?). Use one of the two."
            )
        before = self.previous or stock_attention
        out = before(q, k, v, extra_options)
        precision = get_attn_precision(extra_options["attn_precision"], q.dtype)
        if precision is not None and optimized_attention is not attention_pytorch:
            q, k, v = (t.to(precision) for t in (q, k, v))  # as precise as the stock attention is
        heads = extra_options["n_heads"]
        return added(self.run.reach, self.run.recorded, self.layer, (q, k, v), out, heads, (height, width))


def beside_the_noise(model: Any, latents: Tensor) -> Tensor | None:
    """What an inpainting model sees of references: nothing of them is to be painted, all of them is known.

    Raises ProductBackgroundError for models that read anything else.
    """
    keys, known = tuple(getattr(model, "concat_keys", ())), {"mask": torch.zeros_like(latents[:, :1])}
    known["masked_image"] = latents
    parts = [known[key] for key in keys if key in known]
    expected, found = model.diffusion_model.in_channels, sum(part.shape[1] for part in (latents, *parts))
    if len(parts) < len(keys) or found != expected:
        raise ProductBackgroundError(
            f"A reference without trained weights doesn't fit this model: it reads {expected} channels"
            f"{', ' + ', '.join(keys) + ' beside the noise' if keys else ''}, a reference has {found}. Supported are "
            "text-to-image and inpainting models."
        )
    return torch.cat(parts, 1) if parts else None


def _of_rows(value: Any, rows: Tensor, count: int) -> Any:
    """A condition of the picture's `count` rows, for the reference's: that of the rows which they are read with."""
    if isinstance(value, Tensor) and value.ndim and len(value) == count:
        return value[rows]
    return value


def _halvings(unet: Any) -> dict[tuple[str, int], int]:
    """How often the picture has been halved where each block of a UNet has its attention."""
    found, times = {}, 0
    middle = [] if unet.middle_block is None else [unet.middle_block]
    for part, blocks in (("input", unet.input_blocks), ("middle", middle), ("output", unet.output_blocks)):
        for number, block in enumerate(blocks):
            found[part, number] = times
            for module in block:
                times += isinstance(module, Downsample) - isinstance(module, Upsample)
    return found
