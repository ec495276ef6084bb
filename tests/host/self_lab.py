"""References without trained weights for the attention lab's UNet, and what they must make of it, written out.

Import it after the `comfyui` fixture has run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from product_background.bg_core.regions import region_of
from product_background.bg_core.self_reference import SelfGuide
from product_background.nodes import attention_patch, unet_layers
from torch import Tensor

from .attention_lab import area_means


def guide_of(
    references: int = 1, hole: bool = True, seed: int = 6, size: tuple[int, int] = (12, 12), **settings: Any
) -> SelfGuide:
    """Random references, each product in the middle larger than the one before."""
    generator = torch.Generator().manual_seed(seed)
    where = torch.zeros(references, 96, 96)
    for i in range(references if hole else 0):
        where[i, 32 : 64 + 8 * i, 32:64] = 1
    return SelfGuide(torch.randn(references, 4, *size, generator=generator), where, **settings)


def styled(model: Any, guide: SelfGuide) -> Any:
    return attention_patch.styled(model, guide)


def by_definition(model: Any, guide: SelfGuide, mask: Tensor | None = None) -> Any:
    """Beside each row of the positive the model runs on that row's reference, by stock means; joined by hand.

    Of several, one around the other. `mask` [H,W]: what of the guide's the rows show, where they are a part of the
    picture.
    """
    theirs = model.model_options["transformer_options"].get("patches_replace", {}).get("attn1", {})
    kept: dict[Any, tuple[Tensor, Tensor, tuple[int, ...]]] = {}
    layers = unet_layers.cross_attention_layers(model.model)

    def recorder(row: int, layer: Any) -> Callable[..., Tensor]:
        def attend(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> Tensor:
            kept[row, layer] = k, v, tuple(options["activations_shape"][-2:])
            return softmax(q, k, v, options["n_heads"])

        return attend

    def joined(layer: Any) -> Callable[..., Tensor]:
        previous = theirs.get(layer[:2])

        def attend(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> Tensor:
            sides, size = options["cond_or_uncond"], tuple(options["activations_shape"][-2:])
            batch, heads = len(q) // len(sides), options["n_heads"]
            plain = softmax(q, k, v, heads)
            out = previous(q, k, v, options) if previous else plain.clone()
            for i in range(len(q)):
                if sides[i // batch] != 0:
                    continue
                k_ref, v_ref, of_reference = kept[i, layer]
                number = i % batch % guide.references
                clear = region_of(guide.hole[number : number + 1], *of_reference)[0] == 0
                row = slice(i, i + 1)
                both = (torch.cat([t[row], r[:, clear]], 1) for t, r in ((k, k_ref), (v, v_ref)))
                change = (softmax(q[row], *both, heads) - plain[row]) * guide.strength
                if guide.mask is not None:
                    shown = guide.mask[i % batch % len(guide.mask)] if mask is None else mask
                    change = change * area_means(shown, *size)[:, None]
                out[row] = out[row] + change
            return out

        return attend

    def run_first(
        executor: Any, x: Tensor, t: Tensor, concat: Any, text: Tensor, control: Any, options: Any, **more: Any
    ) -> Tensor:
        inner, sides = executor.class_obj, options["cond_or_uncond"]
        noise = torch.randn(guide.latents.shape, generator=torch.Generator().manual_seed(0))
        kept.clear()
        for i in range(len(x)):
            batch = len(x) // len(sides)
            if sides[i // batch] != 0:
                continue
            row, number = slice(i, i + 1), i % batch % guide.references
            latents = guide.latents[number : number + 1]
            noisy = inner.model_sampling.noise_scaling(t[row].view(1, 1, 1, 1), noise[number : number + 1], latents)
            # of an inpainting model: nothing is to be painted
            known = None if concat is None else torch.cat([torch.zeros_like(latents[:, :1]), latents], 1)
            patches = {"patches_replace": {"attn1": {layer: recorder(i, layer) for layer in layers}}}
            others = {name: value[row] for name, value in more.items()}
            inner._apply_model(noisy, t[row], known, text[row], transformer_options=patches, **others)
        return executor(x, t, concat, text, control, options, **more)

    defined = model.clone()
    for layer in layers:
        defined.set_model_attn1_replace(joined(layer), *layer[:2])
    defined.add_wrapper("apply_model", run_first)
    return defined


def softmax(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    q, k, v = (t.double().unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2).float()
