"""Mask-Guided Attention, and what lets a user see it: Attention Tap and Attention Map."""

import torch
from comfy_api.latest import io

from ..bg_core.attention_map import averaged, overlay, resized, summary
from ..bg_core.errors import ProductBackgroundError
from ..bg_core.prompt_text import IDENTIFIER_GROUP, PRODUCT_GROUP
from ..bg_core.region_plan import Guide
from ..bg_core.regions import MAX_BORDER, checked_mask, moved_border
from .attention_patch import guided, tapped

AttentionType = io.Custom("PBG_ATTENTION")

AVERAGED, ONE_BY_ONE = "averaged", "one by one"


class MaskGuidedAttention(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PBG_MaskGuidedAttention",
            display_name="Mask-Guided Attention",
            category="Product Background",
            description="Lets the category's identifier act on the background only, in every cross-attention layer.",
            inputs=[
                io.Model.Input("model", tooltip="A UNet: Stable Diffusion 1.x, 2.x, XL, or the demonstration base."),
                io.Mask.Input(
                    "background_mask",
                    tooltip="1 where the identifier may act. Any size with the picture's shape; one for all pictures, "
                    "or one for each of the batch.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="1 weighs the identifier by the mask; 0 leaves the model as it is; 2 steepens soft edges.",
                ),
                io.Float.Input(
                    "start_percent",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="From where in the sampling the mask guides, as a share of the noise schedule.",
                ),
                io.Float.Input(
                    "end_percent",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Up to where in the sampling the mask guides; after that the identifier acts everywhere.",
                ),
                io.Int.Input(
                    "feather",
                    default=0,
                    min=0,
                    max=MAX_BORDER,
                    tooltip="How many pixels of the mask the way from product to background takes.",
                ),
                io.Int.Input(
                    "grow",
                    default=0,
                    min=-MAX_BORDER,
                    max=MAX_BORDER,
                    tooltip="Moves the border by so many pixels of the mask: above 0 into the product, below 0 away "
                    "from it.",
                ),
                io.Mask.Input(
                    "product_mask",
                    optional=True,
                    tooltip="Connected: the product's own words act only where this mask is 1. Else everywhere.",
                ),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model, guided; connect it to the sampler.")],
        )

    @classmethod
    def execute(
        cls, model, background_mask, strength, start_percent, end_percent, feather, grow, product_mask=None
    ) -> io.NodeOutput:
        if start_percent > end_percent:
            raise ProductBackgroundError(
                f"start_percent is {start_percent:g}, end_percent {end_percent:g}: the mask would never guide."
            )
        background = checked_mask(background_mask, "background_mask", background=True)
        masks = {IDENTIFIER_GROUP: moved_border(background, grow, feather)}
        if product_mask is not None:
            product = checked_mask(product_mask, "product_mask", background=False)
            masks[PRODUCT_GROUP] = moved_border(product, -grow, feather)
        if strength == 0:
            return io.NodeOutput(model)
        return io.NodeOutput(guided(model, Guide(masks, strength, start_percent, end_percent)))


class AttentionTap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PBG_AttentionTap",
            display_name="Attention Tap",
            category="Product Background",
            description="Records, while the model samples, what the prompt's token groups look at. For Attention Map.",
            inputs=[io.Model.Input("model", tooltip="The model that will be sampled, guided by a mask or not.")],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="The same model, for the sampler. It samples more slowly."
                ),
                AttentionType.Output(
                    display_name="attention", tooltip="For Attention Map: each run of the sampler fills it anew."
                ),
            ],
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        return io.NodeOutput(*tapped(model))


class AttentionMap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PBG_AttentionMap",
            display_name="Attention Map",
            category="Product Background",
            description="Draws what a token group looked at over the picture, by layer or averaged.",
            inputs=[
                AttentionType.Input("attention", tooltip="Attention Tap's, whose model made the picture."),
                io.Image.Input(
                    "picture",
                    tooltip="The decoded picture. Connect the one that the tapped model made: the map waits for it.",
                ),
                io.Combo.Input(
                    "group",
                    options=[IDENTIFIER_GROUP, PRODUCT_GROUP],
                    default=IDENTIFIER_GROUP,
                    tooltip="The category's identifier, or the product's own words.",
                ),
                io.Combo.Input(
                    "layers",
                    options=[AVERAGED, ONE_BY_ONE],
                    default=AVERAGED,
                    tooltip="One map of all layers, or a map for each, in the order in which the model runs them.",
                ),
                io.Float.Input(
                    "full_scale",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="The share of attention that is drawn brightest. 0: the largest one. Set it to compare.",
                ),
                io.Float.Input(
                    "opacity",
                    default=0.7,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much the colours cover the picture.",
                ),
                io.Mask.Input(
                    "background_mask",
                    optional=True,
                    tooltip="Connected: the report also tells the share on background and product apart.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="map", tooltip="Black, violet, red, orange, yellow: from no attention to the most."
                ),
                io.Mask.Output(
                    display_name="share",
                    tooltip="The same as numbers: the share of its attention that each place gives to the group.",
                ),
                io.String.Output(display_name="report", tooltip="The mean share, a line a layer."),
            ],
        )

    @classmethod
    def execute(cls, attention, picture, group, layers, full_scale, opacity, background_mask=None) -> io.NodeOutput:
        if layers not in (AVERAGED, ONE_BY_ONE):
            raise ProductBackgroundError(f"There are no layers {layers!r}. Accepted are: {AVERAGED}, {ONE_BY_ONE}.")
        shares = attention.shares(group)
        maps = [averaged(shares)] if layers == AVERAGED else list(shares.values())
        full = full_scale or max(float(share.max()) for share in maps)
        return io.NodeOutput(
            torch.cat([overlay(picture, share, full, opacity) for share in maps]),
            torch.cat([resized(share, *picture.shape[1:3]) for share in maps]).clamp(0, 1),
            summary(group, shares, background_mask),
        )
