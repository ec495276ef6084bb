"""Patches of other packs: stand-ins that do to a model what theirs do, and the real ones where a checkout is named.

IPADAPTER_PLUS_PATH and COMFYUI_PPM_PATH name checkouts of cubiq/ComfyUI_IPAdapter_plus and pamparamm/ComfyUI-ppm; they
are no packages of PyPI, and their licences aren't ours.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from comfy.ldm.modules.attention import optimized_attention
from torch import Tensor, nn

IPADAPTER, PPM = "IPADAPTER_PLUS_PATH", "COMFYUI_PPM_PATH"
IPADAPTER_BLOCKS = [("input", i) for i in (1, 2, 4, 5, 7, 8)] + [("output", i) for i in range(3, 12)]
IMAGE_TOKENS = 4


def foreign(variable: str, name: str) -> ModuleType:
    """A module of the checkout that `variable` names, imported without running the pack's own start-up."""
    root = Path(os.environ[variable]).expanduser().resolve()
    package = sys.modules.setdefault(variable.lower(), ModuleType(variable.lower()))
    package.__path__ = [str(root)]
    return importlib.import_module(f"{variable.lower()}.{name}")


class ImageAdapter:
    """What IPAdapter_plus calls `ipadapter`: a reference image's keys and values for each layer; random weights."""

    def __init__(self, model: Any, width: int, tokens: int = IMAGE_TOKENS) -> None:
        generator = torch.Generator().manual_seed(11)
        self.projections = nn.ModuleDict()
        channels = {
            block: module.transformer_blocks[0].attn2.to_q.weight.shape[0]
            for part, blocks in (("input", model.input_blocks), ("output", model.output_blocks))
            for i, layers in enumerate(blocks)
            for module in layers
            if hasattr(module, "transformer_blocks")
            for block in [(part, i)]
        }
        for number, block in enumerate(IPADAPTER_BLOCKS):
            for kind in "kv":
                layer = nn.Linear(width, channels[block], bias=False)
                layer.weight.data = torch.randn(layer.weight.shape, generator=generator) / width**0.5
                self.projections[f"{number * 2 + 1}_to_{kind}_ip"] = layer.requires_grad_(False)
        self.cond = torch.randn(1, tokens, width, generator=generator)
        self.ip_layers = SimpleNamespace(to_kvs=self.projections)

    def get_multigpu_clone(self, device: Any) -> ImageAdapter:
        return self


class StandInReplace:
    """Like IPAdapter_plus's patch: the attention to the text, run by itself, plus one to the image a callback.

    Callbacks are appended to whatever object it finds in the slot, which must therefore be its own.
    """

    def __init__(self, callback: Callable[..., Tensor]) -> None:
        self.callbacks = [callback]

    def add(self, callback: Callable[..., Tensor]) -> None:
        self.callbacks.append(callback)

    def to(self, device: Any, *args: Any, **kwargs: Any) -> StandInReplace:
        return self

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        out = optimized_attention(q, k, v, extra_options["n_heads"])
        for callback in self.callbacks:
            out = out + callback(q, extra_options)
        return out


def stand_in_ipadapter(model: Any, adapter: ImageAdapter, weight: float) -> Any:
    patched = model.clone()

    def attention_to_image(number: int) -> Callable[..., Tensor]:
        to_k, to_v = (adapter.projections[f"{number * 2 + 1}_to_{kind}_ip"] for kind in "kv")

        def attend(q: Tensor, options: dict[str, Any]) -> Tensor:
            sides = options["cond_or_uncond"]
            images = torch.cat([adapter.cond * (side == 0) for side in sides])
            images = images.repeat_interleave(q.shape[0] // len(sides), 0)
            return optimized_attention(q, to_k(images), to_v(images), options["n_heads"]) * weight

        return attend

    for number, key in enumerate(IPADAPTER_BLOCKS):
        options = patched.model_options["transformer_options"].copy()
        replace = options["patches_replace"] = options.get("patches_replace", {}).copy()
        slot = replace["attn2"] = replace.get("attn2", {}).copy()
        if key in slot:
            slot[key].add(attention_to_image(number))
        else:
            slot[key] = StandInReplace(attention_to_image(number))
        patched.model_options["transformer_options"] = options
    return patched


def real_ipadapter(model: Any, adapter: ImageAdapter, weight: float, mask: Tensor | None = None) -> Any:
    """With IPAdapter_plus's own patch, attention and order of calls; without its image encoder."""
    pack = foreign(IPADAPTER, "IPAdapterPlus")
    patched = model.clone()
    for number, key in enumerate(IPADAPTER_BLOCKS):
        settings = {
            "ipadapter": adapter, "weight": weight, "cond": adapter.cond, "cond_alt": None,
            "uncond": torch.zeros_like(adapter.cond), "weight_type": "linear", "mask": mask, "sigma_start": 1e9,
            "sigma_end": 0.0, "unfold_batch": False, "embeds_scaling": "V only", "module_key": str(number * 2 + 1),
        }  # fmt: skip
        pack.set_model_patch_replace(patched, settings, key)
    return patched


def stand_in_couple(model: Any, texts: list[Tensor], masks: Tensor) -> Any:
    """Like PPM's attention couple: the positive's rows once more for each further text, joined by masks [n,H,W]."""
    patched = model.clone()
    sides: list[int] = []

    def repeat_rows(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        given, batch = options["cond_or_uncond"], q.shape[0] // len(options["cond_or_uncond"])
        rows = [t.chunk(len(given)) for t in (q, k, v)]
        sides[:] = given
        out: list[list[Tensor]] = [[], [], []]
        for chunk, side in enumerate(given):
            more = texts if side == 0 else []
            out[0].append(rows[0][chunk].repeat(1 + len(more), 1, 1))
            for kind in (1, 2):
                out[kind].append(torch.cat([rows[kind][chunk], *(text.repeat(batch, 1, 1) for text in more)]))
        return torch.cat(out[0]), torch.cat(out[1]), torch.cat(out[2])

    def put_together(out: Tensor, options: dict[str, Any]) -> Tensor:
        size = tuple(options["activations_shape"][-2:])
        shares = torch.nn.functional.interpolate(masks[:, None], size=size, mode="nearest").flatten(2).transpose(1, 2)
        batch = out.shape[0] // sum(1 + len(texts) * (side == 0) for side in sides)
        pieces, done = [], 0
        for side in sides:
            copies = 1 + len(texts) * (side == 0)
            mine = out[done : done + copies * batch].unflatten(0, (copies, batch))
            pieces.append((mine * shares[:, None]).sum(0) if copies > 1 else mine[0])
            done += copies * batch
        return torch.cat(pieces)

    patched.set_model_attn2_patch(repeat_rows)
    patched.set_model_attn2_output_patch(put_together)
    return patched


def real_couple(model: Any, base: list[list[Any]], texts: list[Tensor], masks: Tensor) -> Any:
    """PPM's own two patches, as its node sets them."""
    couple = foreign(PPM, "src.attention_couple.unet_couple")
    patched = model.clone()
    conditionings = [[[text, {}]] for text in texts]
    count = len(conditionings) + 1
    patch = couple.unet_attn2_couple_wrapper(base, conditionings, count, False, torch.device("cpu"), torch.float32)
    patched.set_model_attn2_patch(patch)
    patched.set_model_attn2_output_patch(couple.unet_attn2_output_couple_wrapper(masks[:, None]))
    return patched


def stand_in_negpip(model: Any) -> Any:
    """Like NegPip: texts hold each token twice, for key and for value, and the attention's input is halved."""
    patched = model.clone()
    patched.set_model_attn2_patch(lambda q, k, v, options: (q, k[:, 0::2], v[:, 1::2]))
    return patched
