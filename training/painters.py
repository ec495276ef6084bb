"""The frozen models that categories are taught to: the demonstration base, or one of Stable Diffusion 1.5's family.

    load_painter(Path("models/checkpoints/product_background_demo_base.safetensors"))
    load_painter(Path("stable-diffusion-v1-5"))            a folder as diffusers saves it
    load_painter(Path("v1-5-pruned-emaonly.safetensors"))  one file with the original names, as ComfyUI reads it

Four or nine input channels, epsilon or v-prediction: read from the weights and their settings. Nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from bg_core import checkpoint
from bg_core.base import BASE_NAME, BaseConfig, inpainting_input
from bg_core.errors import ProductBackgroundError

from .diffusion import Diffusion, Prediction, demonstration_diffusion
from .export import load_base, unet_names
from .text import Vocabulary

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""In which a frozen UNet may work."""

SD15 = "sd15"
"""How weight files name the family of Stable Diffusion 1.5."""

SD15_SHAPE = BaseConfig(
    latent_channels=4, channels=(320, 640, 1280, 1280), attention=(True, True, True, False), head_channels=40,
    context_width=768,
)  # fmt: skip
"""Its layout, for the names of its tensors. `head_channels` is the first level's: the UNet has 8 heads on every one."""

SD15_TEXT = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
    "max_position_embeddings": 77, "hidden_act": "quick_gelu", "projection_dim": 768,
}  # fmt: skip

SD15_CODER = {
    "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4, "sample_size": 512,
}  # fmt: skip


class Coder(Protocol):
    """Pictures [B,3,H,W] in [0,1] to the latents [B,C,h,w] that the UNet knows, and back."""

    def encode(self, pictures: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


@dataclass
class Painter:
    """`family`: as weight files name it. `vocabulary`: of the text encoder, None where it has all words."""

    family: str
    unet: UNet2DConditionModel
    text: CLIPTextModel
    coder: Coder
    diffusion: Diffusion
    vocabulary: Vocabulary | None = None

    @property
    def inpaints(self) -> bool:
        """Whether the UNet sees mask and product, or noisy latents alone."""
        return int(self.unet.config.in_channels) > int(self.unet.config.out_channels)

    def inputs(self, noisy: Tensor, mask: Tensor, masked: Tensor) -> Tensor:
        """What the UNet reads, from noisy and masked latents [B,C,h,w] and the mask channel [B,1,h,w], 1 = repaint."""
        return inpainting_input(noisy, mask, masked) if self.inpaints else noisy

    def predict(self, noisy: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """The UNet's answer [B,C,h,w] in float32 to `inputs` at times [B], reading `context` [B,T,D]."""
        dtype = next(self.unet.parameters()).dtype
        return self.unet(noisy.to(dtype), t, context.to(dtype)).sample.float()

    def place(self, device: torch.device, precision: str = "float32") -> None:
        """Moves everything to where it works. `precision`: of the UNet, one of `PRECISIONS`; the rest is float32."""
        self.unet.to(device)
        if precision != "float32":
            self.unet.to(PRECISIONS[precision])
        for module in (self.text, self.coder):
            if isinstance(module, torch.nn.Module):
                module.to(device)

    def enable_gradient_checkpointing(self) -> None:
        """The UNet's activations are computed a second time in the backward pass: less memory, a third more time."""
        self.unet.enable_gradient_checkpointing()
        self.unet.train()  # without dropout, the only thing that the mode changes is the checkpointing

    def freeze(self) -> Painter:
        for module in (self.unet, self.text, self.coder):
            if isinstance(module, torch.nn.Module):
                module.eval().requires_grad_(False)
        return self


def load_painter(path: Path) -> Painter:
    """The model at `path`, frozen, in float32 on the CPU. Raises ProductBackgroundError for what is none."""
    if path.is_dir():
        return _from_folder(path).freeze()
    if not path.is_file():
        raise ProductBackgroundError(
            f"No model at {path}. Accepted are the demonstration base, a checkpoint of Stable Diffusion 1.5's family "
            "as one .safetensors file, or its folder as diffusers saves it."
        )
    with safe_open(str(path), "pt") as file:
        metadata = file.metadata() or {}
    if metadata.get("kind") == checkpoint.KIND and metadata.get("base") == BASE_NAME:
        base, _ = load_base(path)
        coder, diffusion = base.autoencoder, demonstration_diffusion()
        return Painter(BASE_NAME, base.unet, base.text, coder, diffusion, base.vocabulary).freeze()
    return _from_file(path).freeze()


class StableCoder(torch.nn.Module):
    """diffusers' AutoencoderKL; latents are the encoder's means, so that they can be kept."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.scale = model, float(model.config.scaling_factor)

    def encode(self, pictures: Tensor) -> Tensor:
        return self.model.encode(pictures * 2 - 1).latent_dist.mode() * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        return self.model.decode(latents / self.scale).sample / 2 + 0.5


def stable_diffusion(prediction: Prediction = "epsilon", zero_terminal: bool = False) -> Diffusion:
    """Stable Diffusion's scaled-linear betas, those of `BaseConfig`; `zero_terminal` rescales them as our base does."""
    if zero_terminal:
        return Diffusion(demonstration_diffusion().alpha_bars, prediction)
    shape = SD15_SHAPE
    roots = torch.linspace(shape.beta_start**0.5, shape.beta_end**0.5, shape.timesteps, dtype=torch.float64)
    return Diffusion(torch.cumprod(1.0 - roots**2, dim=0).float(), prediction)


def _from_folder(folder: Path) -> Painter:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    missing = [part for part in ("unet", "text_encoder", "vae", "scheduler") if not (folder / part).is_dir()]
    if missing:
        raise ProductBackgroundError(
            f"{folder} is no model as diffusers saves it: {', '.join(missing)} missing. Expected the folders unet, "
            "text_encoder, vae and scheduler."
        )
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", local_files_only=True, use_safetensors=True)
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", local_files_only=True, use_safetensors=True)
    coder = AutoencoderKL.from_pretrained(folder / "vae", local_files_only=True, use_safetensors=True)
    if unet.config.cross_attention_dim != text.config.hidden_size:
        raise ProductBackgroundError(
            f"{folder}: the UNet reads contexts {unet.config.cross_attention_dim} wide, its text encoder makes them "
            f"{text.config.hidden_size} wide. Accepted is Stable Diffusion 1.5's family, with one CLIP text encoder."
        )
    settings = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    velocity = settings.get("prediction_type") == "v_prediction"
    diffusion = stable_diffusion("v" if velocity else "epsilon", bool(settings.get("rescale_betas_zero_snr")))
    return Painter(SD15, unet.float(), text.float(), StableCoder(coder.float()), diffusion)


def _from_file(path: Path) -> Painter:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from transformers import CLIPTextConfig, CLIPTextModel

    file = load_file(path)
    ours = _under(file, checkpoint.UNET_PREFIX)
    text = _under(file, f"{checkpoint.TEXT_PREFIX}transformer.")
    names = dict(unet_names(SD15_SHAPE))
    lost = [name for name in names if name not in ours]
    width = ours.get("middle_block.1.transformer_blocks.0.attn2.to_k.weight", torch.zeros(0, 0)).shape[-1]
    coded = any(key.startswith(checkpoint.AUTOENCODER_PREFIX) for key in file)
    if lost or not coded or not text or width != SD15_SHAPE.context_width:
        what = (
            f"{len(lost)} of its tensors are missing" if lost
            else "its text encoder is missing or another one" if coded
            else "its VAE is missing"
        )  # fmt: skip
        raise ProductBackgroundError(
            f"{path} is no whole checkpoint of Stable Diffusion 1.5's family: {what}. Accepted are that family and the "
            "demonstration base; SDXL and later ones have other text encoders."
        )
    unet = UNet2DConditionModel(**sd15_unet(ours["input_blocks.0.0.weight"].shape[1]))
    unet.load_state_dict({names[ldm]: ours[ldm].float().view_as(unet.get_parameter(names[ldm])) for ldm in names})
    encoder = CLIPTextModel(CLIPTextConfig(**SD15_TEXT))
    encoder.load_state_dict({k: v.float() for k, v in text.items() if not k.endswith("position_ids")})
    coder = AutoencoderKL(**SD15_CODER)
    coder.load_state_dict({k: v.float() for k, v in convert_ldm_vae_checkpoint(file, SD15_CODER).items()})
    # the two marks by which ComfyUI knows v-prediction and zero terminal SNR
    diffusion = stable_diffusion("v" if "v_pred" in file else "epsilon", "ztsnr" in file)
    return Painter(SD15, unet, encoder, StableCoder(coder), diffusion)


def sd15_unet(in_channels: int) -> dict[str, Any]:
    """Keyword arguments of diffusers' UNet2DConditionModel for Stable Diffusion 1.5's UNet."""
    values = SD15_SHAPE.diffusers_unet()
    return values | {"in_channels": in_channels, "attention_head_dim": 8}


def _under(file: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in file.items() if key.startswith(prefix)}
