"""Teaches ComfyUI the demonstration base, so that its STOCK checkpoint loader opens it.

ComfyUI finds a model's class by its shape: `comfy.supported_models.models` is a list of classes, and the first one
whose `unet_config` agrees with the checkpoint is taken. One more class at the end of that list is all that is needed;
no node and no loader is replaced. Unlike Stable Diffusion 1.5 the base has 16 latent channels that need no scale
factor, predicts v with zero terminal SNR, reads a small text encoder whose checkpoint holds only the words it was
taught, and has its own idea of a blank picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import comfy.latent_formats
import comfy.model_base
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base
import folder_paths
from torch import Tensor

from ..bg_core import checkpoint
from ..bg_core.base import BASE_NAME, DEMONSTRATION

CHECKPOINTS = Path(__file__).resolve().parent.parent / "models" / "checkpoints"


class DemonstrationLatents(comfy.latent_formats.LatentFormat):
    """Latents as the autoencoder makes them: already of unit variance, hence no scale factor."""

    latent_channels = DEMONSTRATION.latent_channels
    scale_factor = 1.0

    def use_preview_colours(self, latent_rgb: Tensor) -> None:
        """`latent_rgb` [C+1,3]: the map that `bg_core.autoencoder.fit_latent_rgb` found; its last row is the bias."""
        self.latent_rgb_factors = latent_rgb[:-1].tolist()
        self.latent_rgb_factors_bias = latent_rgb[-1].tolist()


class DemonstrationModel(comfy.model_base.BaseModel):
    """The stock UNet, wrapped with this base's own blank picture in place of Stable Diffusion 1.5's."""

    def __init__(self, model_config: Any, blank_latent: Tensor, device: Any = None) -> None:
        super().__init__(model_config, comfy.model_base.ModelType.V_PREDICTION, device=device)
        self.concat_keys = ("mask", "masked_image")
        self.blank_latent = blank_latent

    def set_inpaint(self) -> None:
        """Nothing to do: this model always is one, and the stock method would put SD 1.5's blank latent here."""

    def blank_inpaint_image_like(self, latent_image: Tensor) -> Tensor:
        """A mid-grey picture's latents in the shape [B,C,h,w] of `latent_image`: plain text-to-image gets this."""
        blank = self.blank_latent.to(latent_image).view(1, -1, 1, 1)
        return blank.repeat(latent_image.shape[0], 1, *latent_image.shape[2:])


class DemonstrationTextEncoder(comfy.sd1_clip.SDClipModel):
    """The stock CLIP text model, built small."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: dict[str, Any] = {}) -> None:  # noqa: B006
        super().__init__(
            device=device,
            dtype=dtype,
            textmodel_json_config=DEMONSTRATION.host_text(),
            return_projected_pooled=False,
            model_options=model_options,
        )


class DemonstrationClip(comfy.sd1_clip.SD1ClipModel):
    """What ComfyUI calls a CLIP: the encoder under the name `clip_l`, as SD 1.5 has it, so that LoRA keys fit."""

    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: dict[str, Any] = {}) -> None:  # noqa: B006
        super().__init__(device=device, dtype=dtype, model_options=model_options, clip_model=DemonstrationTextEncoder)


class DemonstrationBase(comfy.supported_models.SD15):
    """The entry in ComfyUI's list of known models."""

    product_background_base = BASE_NAME

    unet_config = {
        "context_dim": DEMONSTRATION.context_width,
        "model_channels": DEMONSTRATION.channels[0],
        "in_channels": DEMONSTRATION.unet_channels,
        "out_channels": DEMONSTRATION.latent_channels,
        "use_linear_in_transformer": False,
        "adm_in_channels": None,
        "use_temporal_attention": False,
    }
    unet_extra_config = {"num_heads": -1, "num_head_channels": DEMONSTRATION.head_channels}
    latent_format = DemonstrationLatents
    sampling_settings = {
        "linear_start": DEMONSTRATION.beta_start,
        "linear_end": DEMONSTRATION.beta_end,
        "timesteps": DEMONSTRATION.timesteps,
        "zsnr": True,
    }

    def model_type(self, state_dict: dict[str, Tensor], prefix: str = "") -> comfy.model_base.ModelType:
        return comfy.model_base.ModelType.V_PREDICTION

    def get_model(self, state_dict: dict[str, Tensor], prefix: str = "", device: Any = None) -> DemonstrationModel:
        # The extra tensors lie beside the UNet's own, so that they survive ComfyUI's "save model" nodes.
        self.extras = checkpoint.read_extras(state_dict, prefix)
        if self.extras.latent_rgb is not None:
            self.latent_format.use_preview_colours(self.extras.latent_rgb)
        return DemonstrationModel(self, self.extras.blank_latent, device=device)

    def process_unet_state_dict(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        return checkpoint.without_extras(state_dict)

    def process_unet_state_dict_for_saving(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        return super().process_unet_state_dict_for_saving({**state_dict, **self.extras.tensors()})

    def process_clip_state_dict(self, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
        return checkpoint.expand_vocabulary(super().process_clip_state_dict(state_dict), "clip_l.")

    def clip_target(self, state_dict: dict[str, Tensor] = {}) -> comfy.supported_models_base.ClipTarget:  # noqa: B006
        return comfy.supported_models_base.ClipTarget(comfy.sd1_clip.SD1Tokenizer, DemonstrationClip)


def register_demonstration_base() -> None:
    """Add the base to the models that ComfyUI knows, and the bundled checkpoint's folder to those it lists.

    Calling it again changes nothing. Of two copies of the pack the first one's class stays; each adds its own folder.
    """
    models = comfy.supported_models.models
    if not any(getattr(model, "product_background_base", None) == BASE_NAME for model in models):
        models.append(DemonstrationBase)
    folder_paths.add_model_folder_path("checkpoints", str(CHECKPOINTS))
