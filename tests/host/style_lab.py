"""Random style weights for the attention lab's UNet, and what references must make of it, written out.

Import it after the `comfyui` fixture has run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_patcher
import torch
from comfy.ldm.modules.attention import optimized_attention
from product_background.bg_core.style_adapter import StyleAdapter
from product_background.bg_core.style_config import StyleConfig
from product_background.bg_core.style_encoder import Tokens, grid_positions
from product_background.bg_core.style_plan import StyleGuide
from product_background.nodes import attention_patch, unet_layers
from torch import Tensor

from .attention_lab import area_means

STRENGTHS = {"style": 0.8, "layout": 1.2, "elements": 0.0}


def new_adapter(model: Any, seed: int = 3) -> StyleAdapter:
    """For the layers of a MODEL, its values not zero."""
    torch.manual_seed(seed)
    layers = tuple((*name, m.heads * m.dim_head) for name, m in unet_layers.modules_of(model.model).items())
    adapter = StyleAdapter(StyleConfig(layers, width=32)).eval().requires_grad_(False)
    for layer in adapter.layers.values():
        torch.nn.init.normal_(layer.to_v.weight, std=0.15)
    return adapter


def new_tokens(adapter: StyleAdapter, references: int = 1, seed: int = 9) -> dict[str, Tokens]:
    """Random ones, a third of the layout's dropped."""
    generator = torch.Generator().manual_seed(seed)
    tokens = {}
    for group, count in adapter.config.tokens.items():
        kept = torch.rand(references, count, generator=generator) > (0.3 if group == "layout" else -1)
        tokens[group] = Tokens(torch.randn(references, count, 32, generator=generator), kept)
    return tokens


class Reference:
    """One reference's tokens and settings, to be applied by our patch and by definition."""

    def __init__(
        self, model: Any, mask: Tensor | None = None, references: int = 1, seed: int = 9, **times: float
    ) -> None:
        self.adapter = new_adapter(model)
        self.mask, self.times = mask, times
        self.tokens = new_tokens(self.adapter, references, seed)
        self.patcher = comfy.model_patcher.ModelPatcher(self.adapter, torch.device("cpu"), torch.device("cpu"))

    def styled(self, model: Any, strengths: dict[str, float] = STRENGTHS) -> Any:
        guide = StyleGuide(self.adapter, self.tokens, strengths, self.mask, **self.times)
        return attention_patch.styled(model, guide, self.patcher)

    def taken(self, layer: Any, q: Tensor, row: int, size: tuple[int, int], box: Sequence[float], heads: int) -> Tensor:
        """What one row's queries [N,C] take, softmax by softmax."""
        projection = self.adapter.layers["_".join(map(str, layer))]
        q = q.double()
        out, d = torch.zeros_like(q), q.shape[-1] // heads
        place = projection.to_k(self.adapter.encoder.place(grid_positions(*size, tuple(box)))) * projection.place
        for group, strength in STRENGTHS.items():
            given = self.tokens[group]
            of = row % len(given.values)
            values = given.values[of][given.kept[of]]
            k, v = projection.to_k(values).double(), projection.to_v(values).double()
            query = q + place if group == "layout" else q
            for part in (slice(head * d, (head + 1) * d) for head in range(heads)):
                out[:, part] += strength * (query[:, part] @ k[:, part].T / d**0.5).softmax(-1) @ v[:, part]
        return out


Rows = Callable[[int, int], Sequence[tuple[Reference, Tensor | None, Sequence[float]]]]
"""(side, row) -> references, their masks of what the row shows, and its part of the picture."""
WHOLE = (0.0, 0.0, 1.0, 1.0)


def by_definition(model: Any, rows: Rows) -> Any:
    """The model with references written out as stock replace patches, around those that are there."""
    patched = model.clone()
    theirs = model.model_options["transformer_options"].get("patches_replace", {}).get("attn2", {})

    def patch(layer: Any) -> Callable[..., Tensor]:
        previous = theirs.get(layer, theirs.get(layer[:2]))

        def attend(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> Tensor:
            sides, heads = options["cond_or_uncond"], options["n_heads"]
            size = tuple(options["activations_shape"][-2:])
            out = previous(q, k, v, options) if previous else optimized_attention(q, k, v, heads)
            out, batch = out.clone(), q.shape[0] // len(sides)
            for i in range(len(q)):
                for reference, mask, box in rows(sides[i // batch], i % batch):
                    taken = reference.taken(layer, q[i], i % batch, size, box, heads)
                    if mask is not None:
                        taken = taken * area_means(mask, *size)[:, None]
                    out[i] += taken.to(out.dtype)
            return out

        return attend

    for layer in unet_layers.cross_attention_layers(model.model):
        patched.set_model_attn2_replace(patch(layer), *layer[:2])
    return patched


def on_positive(*references: Reference) -> Rows:
    return lambda side, row: [
        (r, None if r.mask is None else r.mask[row % len(r.mask)], WHOLE) for r in references if side == 0
    ]
