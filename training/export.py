"""From trained modules to one ComfyUI checkpoint, and back.

Training uses diffusers' UNet and transformers' text encoder; ComfyUI reads the original latent-diffusion names. Shapes
agree, so the conversion only renames tensors.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from bg_core import checkpoint, weights
from bg_core.autoencoder import Autoencoder, narrowed, widened
from bg_core.base import BASE_NAME, DEMONSTRATION, BaseConfig
from bg_core.errors import ProductBackgroundError

from .text import Vocabulary

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel


@dataclass
class Base:
    """The demonstration base as training holds it."""

    unet: UNet2DConditionModel
    text: CLIPTextModel
    autoencoder: Autoencoder
    vocabulary: Vocabulary
    config: BaseConfig = DEMONSTRATION

    def parameter_counts(self) -> dict[str, int]:
        modules = {"unet": self.unet, "text": self.text, "autoencoder": self.autoencoder}
        return {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}


def new_unet(config: BaseConfig = DEMONSTRATION) -> UNet2DConditionModel:
    """A UNet with fresh weights."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(**config.diffusers_unet())


def new_text_encoder(vocabulary: Vocabulary, config: BaseConfig = DEMONSTRATION) -> CLIPTextModel:
    """A text encoder with fresh weights; the UNet's context is its `last_hidden_state` [B,77,context_width]."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(CLIPTextConfig(**config.transformers_text(len(vocabulary))))


def new_base(vocabulary: Vocabulary, config: BaseConfig = DEMONSTRATION) -> Base:
    """All three modules with fresh weights, drawn from torch's global generator."""
    return Base(new_unet(config), new_text_encoder(vocabulary, config), Autoencoder(config), vocabulary, config)


def export_base(
    path: str | os.PathLike[str],
    *,
    unet: Mapping[str, Tensor],
    text: Mapping[str, Tensor],
    autoencoder: Mapping[str, Tensor],
    vocabulary: Vocabulary,
    training: Mapping[str, Any],
    latent_rgb: Tensor | None = None,
    config: BaseConfig = DEMONSTRATION,
    dtype: torch.dtype = torch.float16,
) -> Path:
    """Write the checkpoint that ComfyUI's stock loader opens, from the three modules' state dicts.

    `latent_rgb` [C+1,3] (`fit_latent_rgb`) colours live previews. The blank latent is computed from the autoencoder.
    """
    coder = Autoencoder(config)
    coder.load_state_dict({key: tensor.to(dtype).float() for key, tensor in autoencoder.items()})  # as stored
    extras = checkpoint.Extras(coder.blank_latent(), latent_rgb)

    tensors = {ldm: unet[key].to(dtype) for ldm, key in unet_names(config)}
    if unused := set(unet) - {key for _, key in unet_names(config)}:
        raise ProductBackgroundError(f"The UNet does not fit its configuration. Unknown tensors: {sorted(unused)[:5]}.")
    tensors |= extras.tensors()
    file = {checkpoint.UNET_PREFIX + key: tensor for key, tensor in tensors.items()}
    file |= {
        f"{checkpoint.TEXT_PREFIX}transformer.{key}": tensor.to(dtype)
        for key, tensor in text.items()
        if not key.endswith("position_ids")
    }
    file[checkpoint.TEXT_PREFIX + checkpoint.VOCABULARY] = vocabulary.to_tensor()
    if len(file[checkpoint.TEXT_PREFIX + checkpoint.EMBEDDING]) != len(vocabulary):
        raise ProductBackgroundError("The text encoder's embedding and the vocabulary have different lengths.")
    file |= {checkpoint.AUTOENCODER_PREFIX + key: tensor.to(dtype) for key, tensor in autoencoder.items()}
    return weights.save(path, file, kind=checkpoint.KIND, base=BASE_NAME, config=config.to_dict(), training=training)


def save_base(path: str | os.PathLike[str], base: Base, training: Mapping[str, Any], **options: Any) -> Path:
    """`export_base` for modules in memory."""
    return export_base(
        path,
        unet=base.unet.state_dict(),
        text=base.text.state_dict(),
        autoencoder=widened(base.autoencoder).state_dict(),
        vocabulary=base.vocabulary,
        config=base.config,
        training=training,
        **options,
    )


def load_base(path: str | os.PathLike[str]) -> tuple[Base, weights.Header]:
    """Open an exported checkpoint for training, in float32 on the CPU, in eval mode."""
    header, file = weights.load_checked(path, checkpoint.KIND, BASE_NAME)
    config = BaseConfig.from_dict(header.config)
    base = new_base(Vocabulary(file[checkpoint.TEXT_PREFIX + checkpoint.VOCABULARY].tolist()), config)
    unet = _under(file, checkpoint.UNET_PREFIX)
    base.unet.load_state_dict({key: unet[ldm].float() for ldm, key in unet_names(config)})
    text = _under(file, f"{checkpoint.TEXT_PREFIX}transformer.")
    base.text.load_state_dict({key: tensor.float() for key, tensor in text.items()})
    coder = _under(file, checkpoint.AUTOENCODER_PREFIX)
    base.autoencoder.load_state_dict({key: tensor.float() for key, tensor in coder.items()})
    base.autoencoder = narrowed(base.autoencoder)
    for module in (base.unet, base.autoencoder):
        module.to(memory_format=torch.channels_last)  # a third faster
    for module in (base.unet, base.text, base.autoencoder):
        module.eval()
    return base, header


def load_autoencoder(path: Path) -> Autoencoder:
    """The autoencoder of a run of `training.train_vae`, or of an exported base, without the zeros that it is stored
    with."""
    if path.is_file():
        return load_base(path)[0].autoencoder
    model = Autoencoder(DEMONSTRATION)
    model.load_state_dict(load_file(path / "autoencoder.safetensors"))
    return narrowed(model).eval().to(memory_format=torch.channels_last)


def unet_names(config: BaseConfig = DEMONSTRATION) -> Iterator[tuple[str, str]]:
    """Pairs (latent-diffusion name, diffusers name) of every tensor in the UNet."""
    levels, per_level = len(config.channels), config.res_blocks

    for ldm, diffusers in {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }.items():
        yield from _layer(ldm, diffusers)

    # Latent diffusion numbers the encoder's blocks through: the input, then per level its residual blocks and a
    # downsampler, whose place stays empty in the last level.
    block = 0
    width = config.channels[0]
    for level in range(levels):
        for i in range(per_level):
            block += 1
            yield from _residual(
                f"input_blocks.{block}.0", f"down_blocks.{level}.resnets.{i}", width != config.channels[level]
            )
            width = config.channels[level]
            if config.attention[level]:
                yield from _transformer(f"input_blocks.{block}.1", f"down_blocks.{level}.attentions.{i}")
        if level < levels - 1:
            block += 1
            yield from _layer(f"input_blocks.{block}.0.op", f"down_blocks.{level}.downsamplers.0.conv")

    yield from _residual("middle_block.0", "mid_block.resnets.0", False)
    yield from _transformer("middle_block.1", "mid_block.attentions.0")
    yield from _residual("middle_block.2", "mid_block.resnets.1", False)

    block = -1
    for up, level in enumerate(reversed(range(levels))):
        for i in range(per_level + 1):
            block += 1
            # the skip connection widens every input of the decoder, hence a shortcut convolution in each block
            yield from _residual(f"output_blocks.{block}.0", f"up_blocks.{up}.resnets.{i}", True)
            if config.attention[level]:
                yield from _transformer(f"output_blocks.{block}.1", f"up_blocks.{up}.attentions.{i}")
        if level > 0:
            place = 2 if config.attention[level] else 1
            yield from _layer(f"output_blocks.{block}.{place}.conv", f"up_blocks.{up}.upsamplers.0.conv")


def _layer(ldm: str, diffusers: str) -> Iterator[tuple[str, str]]:
    yield f"{ldm}.weight", f"{diffusers}.weight"
    yield f"{ldm}.bias", f"{diffusers}.bias"


def _residual(ldm: str, diffusers: str, shortcut: bool) -> Iterator[tuple[str, str]]:
    names = {
        "in_layers.0": "norm1",
        "in_layers.2": "conv1",
        "emb_layers.1": "time_emb_proj",
        "out_layers.0": "norm2",
        "out_layers.3": "conv2",
    }
    if shortcut:
        names["skip_connection"] = "conv_shortcut"
    for here, there in names.items():
        yield from _layer(f"{ldm}.{here}", f"{diffusers}.{there}")


def _transformer(ldm: str, diffusers: str) -> Iterator[tuple[str, str]]:
    block = "transformer_blocks.0"
    with_bias = ["norm", "proj_in", "proj_out"]
    with_bias += [f"{block}.{part}" for part in ("norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2")]
    with_bias += [f"{block}.{part}" for part in ("attn1.to_out.0", "attn2.to_out.0")]
    for name in with_bias:
        yield from _layer(f"{ldm}.{name}", f"{diffusers}.{name}")
    for attention in ("attn1", "attn2"):
        for projection in ("to_q", "to_k", "to_v"):
            name = f"{block}.{attention}.{projection}.weight"
            yield f"{ldm}.{name}", f"{diffusers}.{name}"


def _under(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in state_dict.items() if key.startswith(prefix)}
