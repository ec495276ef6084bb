"""A small UNet with Stable Diffusion 1.5's layout inside ComfyUI's own samplers, and what regions must make of it.

Random weights, no server: what is compared is arithmetic. Import it after the `comfyui` fixture has run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.supported_models
import comfy.utils
import pytest
import torch
from product_background.bg_core.region_attention import EPS
from product_background.bg_core.region_plan import Guide
from product_background.nodes import attention_patch
from torch import Tensor

WIDTH = 64
CONFIG = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32, "num_res_blocks": [2, 2, 2, 2],
    "channel_mult": [1, 2, 4, 4], "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "context_dim": WIDTH, "legacy": False,
    "use_spatial_transformer": True, "use_linear_in_transformer": False, "adm_in_channels": None,
    "use_temporal_attention": False, "dtype": torch.float32,
}  # fmt: skip
LAYERS = 16
FEW_LAYERS = {
    "num_res_blocks": [1], "channel_mult": [1], "transformer_depth": [1], "transformer_depth_output": [1, 1],
}  # fmt: skip

Conditioning = list[list[Any]]


def new_model(seed: int = 0, family: type = comfy.model_base.BaseModel, **changes: Any) -> Any:
    """A ModelPatcher, as a checkpoint loader returns it; `changes` to CONFIG."""
    config = comfy.supported_models.SD15({**CONFIG, **changes})
    config.set_inference_dtype(torch.float32, None)
    model = family(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.diffusion_model.named_parameters():
            if parameter.ndim > 1:
                # Enough for attention to choose among tokens; much more, and it would magnify rounding errors.
                scale = 1.6 if "attn2.to_q" in name or "attn2.to_k" in name else 1.0
                fan = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale / fan**0.5)
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
    cpu = torch.device("cpu")
    return comfy.model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def conditioning(seed: int, *places: int, length: int = 77, **more: Any) -> Conditioning:
    """A random text of `length` tokens; with `places`, an identifier stands there, as Category Conditioning says it."""
    text = torch.randn(1, length, WIDTH, generator=torch.Generator().manual_seed(seed))
    extra: dict[str, Any] = {"pooled_output": None}
    if places:
        groups = {"identifier": list(places), **more.pop("groups", {})}
        extra["product_background"] = {"length": length, "groups": groups, "strength": 1.0, **more}
    return [[text, extra]]


def left_half(height: int = 128, width: int = 96, rows: int = 1) -> Tensor:
    """A background mask that leaves the right half to the product."""
    mask = torch.zeros(rows, height, width)
    mask[..., : width // 2] = 1
    return mask


def soft_mask(height: int = 128, width: int = 96, seed: int = 1) -> Tensor:
    return torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed))


def guided(model: Any, mask: Tensor, strength: float = 1.0, **settings: Any) -> Any:
    return attention_patch.guided(model, Guide({"identifier": mask}, strength, **settings))


def sample(
    model: Any,
    positive: Conditioning,
    negative: Conditioning,
    size: tuple[int, int] = (16, 12),
    batch: int = 1,
    steps: int = 2,
    cfg: float = 3.0,
) -> Tensor:
    """Latents [batch,4,h,w] after a run of ComfyUI's KSampler."""
    return _sampled(model, positive, negative, torch.zeros(batch, 4, *size), steps, cfg)


def hires_fix(model: Any, positive: Conditioning, negative: Conditioning, batch: int = 1) -> list[Tensor]:
    """Both stages of painting small, enlarging the latents by half, and painting over that with denoise 0.5."""
    small = sample(model, positive, negative, (16, 12), batch)
    large = comfy.utils.common_upscale(small, 18, 24, "bilinear", "disabled")
    return [small, _sampled(model, positive, negative, large, denoise=0.5)]


def _sampled(
    model: Any,
    positive: Conditioning,
    negative: Conditioning,
    latent: Tensor,
    steps: int = 2,
    cfg: float = 3.0,
    denoise: float = 1.0,
) -> Tensor:
    noise = comfy.sample.prepare_noise(latent, seed=0)
    return comfy.sample.sample(
        model, noise, steps, cfg, "euler", "normal", positive, negative, latent, denoise=denoise, seed=0
    )


def predictions(
    model: Any, conditionings: Sequence[Conditioning], size: tuple[int, int] = (16, 12), batch: int = 1
) -> list[Tensor]:
    """The noise [batch,4,h,w] that each side predicts at a run's first step, through the sampler's own code."""
    found: list[Tensor] = []

    class Guider(comfy.samplers.CFGGuider):
        def predict_noise(self, x: Tensor, timestep: Tensor, model_options: Any = {}, seed: Any = None) -> Tensor:  # noqa: B006
            sides = [self.conds.get(name) for name in self.conds]
            if not found:
                denoised = comfy.samplers.calc_cond_batch(self.inner_model, sides, x, timestep, model_options)
                found.extend((x - side) / timestep.view(-1, 1, 1, 1) for side in denoised)
            return torch.zeros_like(x)

    guider = Guider(model)
    names = ["positive", "negative", *(f"side {i}" for i in range(2, len(conditionings)))]
    guider.inner_set_conds(dict(zip(names, conditionings, strict=False)))
    latent = torch.zeros(batch, 4, *size)
    sampler = comfy.samplers.KSampler(model, steps=2, device="cpu", sampler="euler", scheduler="normal")
    noise = comfy.sample.prepare_noise(latent, seed=0)
    guider.sample(noise, latent, comfy.samplers.ksampler("euler"), sampler.sigmas, disable_pbar=True, seed=0)
    return found


def by_definition(
    model: Any, groups: Callable[[int, int], list[tuple[list[int], Tensor]]], strength: float = 1.0
) -> Any:
    """The model with cross-attention written out as a stock replace patch.

    `groups(side, row)`: the positions and masks [H,W] of one row of a side (0 positive, 1 negative).
    """

    def attend(q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any]) -> Tensor:
        heads, sides = options["n_heads"], options["cond_or_uncond"]
        height, width = options["activations_shape"][-2:]
        batch = q.shape[0] // len(sides)
        q, k, v = (t.double().unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        logits = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        for i in range(len(logits)):
            for places, mask in groups(sides[i // batch], i % batch):
                region = area_means(mask, height, width)
                for copy in range(0, k.shape[2], 77):
                    places_here = [copy + p for p in places]
                    logits[i, :, :, places_here] += strength * region.clamp(min=EPS).log()[None, :, None]
        return (logits.softmax(-1) @ v).transpose(1, 2).flatten(2).float()

    patched = model.clone()
    for part, number, _ in attention_patch.cross_attention_layers(model.model):
        patched.set_model_attn2_replace(attend, part, number)
    return patched


def area_means(mask: Tensor, height: int, width: int) -> Tensor:
    """The mean of [H,W] over each of height * width equal areas, by cutting each pixel into height * width."""
    cut = mask.double().repeat_interleave(height, 0).repeat_interleave(width, 1)
    return torch.nn.functional.avg_pool2d(cut[None, None], mask.shape).flatten()


def difference(one: Tensor, other: Tensor) -> float:
    """The largest difference, in standard deviations of the other."""
    return float((one - other).abs().max() / other.std())


def counting_compiler(monkeypatch: Any) -> tuple[Callable[[Any], Any], list[int]]:
    """What compiles a model as ComfyUI's node does it, into one graph, and a list that grows by one each time it does.

    ComfyUI's attention for the CPU asks for free memory in every layer, where no compiler can follow: it is replaced.
    """
    import comfy.ldm.modules.attention as attention
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from product_background.nodes import guided_attention

    for module in (attention, guided_attention):
        monkeypatch.setattr(module, "optimized_attention", attention.attention_pytorch)
    compiled: list[int] = []

    def count(graph: Any, inputs: Any) -> Any:
        compiled.append(1)
        return graph.forward

    def with_compile(model: Any) -> Any:
        patched = model.clone()
        set_torch_compile_wrapper(patched, backend=count, fullgraph=True)
        return patched

    return with_compile, compiled


def controlled(conditioning: Any, control: Any) -> Any:
    """As ControlNetApplyAdvanced does it, for one side."""
    return [[text, {**values, "control": control, "control_apply_to_uncond": False}] for text, values in conditioning]


def half_loaded(patched: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same MODEL with half of its weights left in main memory, as where a device's is short; nothing moves them."""
    patched.load(torch.device("cpu"), lowvram_model_memory=patched.model_size() // 2)
    casting = [getattr(module, "comfy_cast_weights", False) for module in patched.model.modules()]
    assert any(casting), "nothing is offloaded"
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", lambda *args, **kwargs: None)
    return patched
