"""Load Style Weights, Encode Style Reference and Apply Style Reference: the look of one picture for another."""

from collections.abc import Mapping
from dataclasses import dataclass

from comfy_api.latest import io, ui
from torch import Tensor

from ..bg_core.errors import ProductBackgroundError
from ..bg_core.reference_product import NONE, reference_pictures
from ..bg_core.regions import any_mask
from ..bg_core.self_reference import SelfGuide
from ..bg_core.style_adapter import strengths_of
from ..bg_core.style_encoder import Tokens
from ..bg_core.style_plan import StyleGuide
from .attention_patch import styled
from .reference_encoder import encode_latents, encode_tokens
from .self_attention import beside_the_noise
from .style_files import FOLDER, StyleWeights, load_style_weights
from .unet_layers import modules_of

StyleWeightsType = io.Custom("PBG_STYLE_WEIGHTS")
StyleReferenceType = io.Custom("PBG_STYLE_REFERENCE")


@dataclass(frozen=True, eq=False)
class TrainedReference:
    """References as tokens of trained weights."""

    weights: StyleWeights
    tokens: Mapping[str, Tokens]


@dataclass(frozen=True, eq=False)
class PlainReference:
    """References without trained weights: `latents` [R,C,h,w] of a VAE, `hole` [R,H,W], 1 where products were."""

    latents: Tensor
    hole: Tensor


class LoadStyleWeights(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PBG_LoadStyleWeights",
            display_name="Load Style Weights",
            category="Product Background",
            description="Opens the trained weights that read a reference picture's style, layout and elements.",
            inputs=[
                io.Combo.Input(
                    "weights_name",
                    options=FOLDER.files(),
                    tooltip="A style file in one of ComfyUI's style_weights model folders. Files are known by their "
                    "content; others there aren't listed.",
                ),
            ],
            outputs=[StyleWeightsType.Output(display_name="weights", tooltip="For Encode Style Reference.")],
        )

    @classmethod
    def validate_inputs(cls, weights_name) -> bool | str:
        return FOLDER.verdict(weights_name)

    @classmethod
    def fingerprint_inputs(cls, weights_name) -> str | float:
        return FOLDER.fingerprint(weights_name)

    @classmethod
    def execute(cls, weights_name) -> io.NodeOutput:
        return io.NodeOutput(load_style_weights(weights_name))


class EncodeStyleReference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PBG_EncodeStyleReference",
            display_name="Encode Style Reference",
            category="Product Background",
            description="Reads a picture's background, without its product, for Apply Style Reference.",
            inputs=[
                io.Image.Input(
                    "image", tooltip="The reference; a batch has one for each picture that will be painted."
                ),
                io.Mask.Input(
                    "product_mask",
                    optional=True,
                    tooltip="1 on the reference's own product, which is taken out. Unconnected, or 64x64 zeros: a "
                    "product on a plain background is cut off by itself; a scene is taken as it is.",
                ),
                StyleWeightsType.Input(
                    "weights",
                    optional=True,
                    tooltip="Load Style Weights'. Unconnected: works without trained weights, on any checkpoint of "
                    "Stable Diffusion 1.5's family and the demonstration base; slower, and by strength of style alone.",
                ),
                io.Vae.Input(
                    "vae", optional=True, tooltip="The checkpoint's VAE. Most weights need it, see their card."
                ),
                io.ClipVision.Input(
                    "clip_vision", optional=True, tooltip="For weights that read pictures through a CLIP vision tower."
                ),
            ],
            outputs=[
                StyleReferenceType.Output(display_name="reference", tooltip="For Apply Style Reference."),
                io.Image.Output(
                    display_name="seen", tooltip="What was looked at: the picture with its product filled."
                ),
                io.String.Output(display_name="report", tooltip="How each reference's product was found."),
            ],
        )

    @classmethod
    def execute(cls, image, product_mask=None, weights=None, vae=None, clip_vision=None) -> io.NodeOutput:
        pictures, masks, found = reference_pictures(image, product_mask)
        if weights is None:
            latents, hole, seen = encode_latents(pictures, masks, vae)
            reference = PlainReference(latents, hole)
        else:
            tokens, seen = encode_tokens(weights, pictures, masks, vae, clip_vision)
            reference = TrainedReference(weights, tokens)
        report = "\n".join(f"product of reference {i}: {how}" for i, how in enumerate(found))
        if NONE in found:
            report += "\nGive a product_mask where there is a product: what isn't taken out may be painted."
        return io.NodeOutput(reference, seen.movedim(1, -1).contiguous(), report, ui=ui.PreviewText(report))


class ApplyStyleReference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        def strength(name: str, default: float, tooltip: str) -> io.Float.Input:
            return io.Float.Input(name, default=default, min=0.0, max=2.0, step=0.05, tooltip=tooltip)

        def percent(name: str, default: float, tooltip: str) -> io.Float.Input:
            return io.Float.Input(name, default=default, min=0.0, max=1.0, step=0.01, tooltip=tooltip)

        return io.Schema(
            node_id="PBG_ApplyStyleReference",
            display_name="Apply Style Reference",
            category="Product Background",
            description="Paints backgrounds in the style and layout of a reference. Several in a row add up.",
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint's model; other nodes may come before and after."),
                StyleReferenceType.Input("reference", tooltip="Encode Style Reference's."),
                strength("style", 1.0, "Palette, material and softness. 0 leaves them to the prompt."),
                strength("layout", 1.0, "Arrangement and the light's direction. Needs trained weights."),
                strength("elements", 0.0, "Props. Experimental; needs trained weights."),
                percent("start_percent", 0.0, "From where in the sampling the reference acts."),
                percent("end_percent", 1.0, "Up to where in the sampling the reference acts."),
                io.Mask.Input(
                    "background_mask",
                    optional=True,
                    tooltip="1 where the reference acts, soft edges in part: Prepare Product's background_mask, or a "
                    "part of it for two references in two regions. Unconnected: everywhere.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model with the reference, for the sampler.")],
        )

    @classmethod
    def execute(
        cls, model, reference, style, layout, elements, start_percent, end_percent, background_mask=None
    ) -> io.NodeOutput:
        if start_percent > end_percent:
            raise ProductBackgroundError(
                f"start_percent is {start_percent:g}, end_percent {end_percent:g}: the reference would never act."
            )
        mask = background_mask
        if mask is not None:
            mask = any_mask(mask, "background_mask", "It must be 1 where the reference acts.")
        times = start_percent, end_percent
        if isinstance(reference, PlainReference):
            if style == 0:
                return io.NodeOutput(model)
            latents = _model_latents(model, reference)
            return io.NodeOutput(styled(model, SelfGuide(latents, reference.hole, style, mask, *times)))
        strengths = strengths_of(style, layout, elements)
        if not any(strengths.values()):
            return io.NodeOutput(model)
        check_fit(model, reference.weights)
        guide = StyleGuide(reference.weights.adapter, reference.tokens, strengths, mask, *times)
        return io.NodeOutput(styled(model, guide, reference.weights.patcher))


def check_fit(model, weights: StyleWeights) -> None:
    """Refuse a model whose layers aren't those that the weights were trained for."""
    config = weights.adapter.config
    trained = {layer[:3]: layer[3] for layer in config.layers}
    found = {layer: module.heads * module.dim_head for layer, module in modules_of(model.model).items()}
    if trained != found:
        raise ProductBackgroundError(
            f"{weights.name} fits the base {weights.base!r}, with {len(trained)} cross-attention layers of "
            f"{sorted(set(trained.values()))} channels; this model has {len(found)} of {sorted(set(found.values()))}. "
            "Load the weights that belong to this checkpoint, train them (python -m training.train_style --help), or "
            "encode the reference without weights."
        )


def _model_latents(model, reference: PlainReference) -> Tensor:
    expected = model.model.latent_format.latent_channels
    if reference.latents.shape[1] != expected:
        raise ProductBackgroundError(
            f"The reference was encoded by a VAE with {reference.latents.shape[1]} latent channels, the model works on "
            f"{expected}. Connect this checkpoint's own VAE to Encode Style Reference."
        )
    modules_of(model.model)  # refuses models of other kinds
    latents = model.model.process_latent_in(reference.latents)
    beside_the_noise(model.model, latents)  # refuses those that read more than a reference has
    return latents
