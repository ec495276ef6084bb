"""Prepare Product and Composite Product: the photographed product before and after the painting."""

from comfy_api.latest import io

from ..bg_core import canvas as sizes
from ..bg_core.composite import composite_product
from ..bg_core.placement import Arrangement
from ..bg_core.prepare import prepare_product

PlacementType = io.Custom("PBG_PLACEMENT")


class PrepareProduct(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        standard = Arrangement()
        return io.Schema(
            node_id="PBG_PrepareProduct",
            display_name="Prepare Product",
            category="Product Background",
            description="Cuts the product out (if there is no mask) and places it on a canvas, ready for painting.",
            inputs=[
                io.Image.Input("photo", tooltip="Product photographs; a batch is prepared one by one."),
                io.Mask.Input(
                    "product_mask",
                    optional=True,
                    tooltip="1 on the product, of the photo's size; one for all or one for each photo. Unconnected, or "
                    "64x64 zeros: the product is cut off its plain studio background.",
                ),
                io.Combo.Input(
                    "preset",
                    options=sizes.PRESET_NAMES,
                    default=sizes.PRESET_NAMES[0],
                    tooltip="The finished picture's size. Custom takes width and height below.",
                ),
                io.Int.Input(
                    "width",
                    default=768,
                    min=sizes.MIN_CANVAS,
                    max=sizes.MAX_CANVAS,
                    step=sizes.CANVAS_STEP,
                    tooltip="Custom preset only: the canvas's width in pixels, a multiple of 8.",
                ),
                io.Int.Input(
                    "height",
                    default=768,
                    min=sizes.MIN_CANVAS,
                    max=sizes.MAX_CANVAS,
                    step=sizes.CANVAS_STEP,
                    tooltip="Custom preset only: the canvas's height in pixels, a multiple of 8.",
                ),
                io.Combo.Input(
                    "painter",
                    options=sizes.PAINTER_NAMES,
                    default=sizes.PAINTER_NAMES[0],
                    tooltip="What the checkpoint paints best: paint_canvas and paint_mask get about that many pixels "
                    "and the canvas's shape. Canvas size paints at the finished picture's own size.",
                ),
                io.Float.Input(
                    "scale",
                    default=standard.scale,
                    min=0.05,
                    max=1.0,
                    step=0.01,
                    tooltip="Share of the canvas's width and height that the product may take.",
                ),
                io.Float.Input(
                    "horizontal",
                    default=standard.horizontal,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where the product stands in the free room: 0 = left, 1 = right.",
                ),
                io.Float.Input(
                    "vertical",
                    default=standard.vertical,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Where the product stands in the free room: 0 = top, 1 = bottom.",
                ),
                io.Float.Input(
                    "margin",
                    default=standard.margin,
                    min=0.0,
                    max=0.45,
                    step=0.01,
                    tooltip="Smallest distance to the canvas's border, as a share of its shorter side.",
                ),
                io.Combo.Input(
                    "aspect",
                    options=sizes.ASPECT_NAMES,
                    default=sizes.PRESET_ASPECT,
                    optional=True,
                    tooltip="Gives the preset's or custom size another shape (width:height). Its longer side stays.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="canvas",
                    tooltip="The product at the finished picture's size, for Composite Product. Its soft edge holds "
                    "the product's own colour, without the old background.",
                ),
                io.Mask.Output(display_name="product_mask", tooltip="1 on the product, at the canvas's size."),
                io.Mask.Output(display_name="background_mask", tooltip="1 on the background, at the canvas's size."),
                io.Image.Output(
                    display_name="paint_canvas",
                    tooltip="The product over middle grey at the painter's size, for InpaintModelConditioning.",
                ),
                io.Mask.Output(
                    display_name="paint_mask",
                    tooltip="1 where the checkpoint shall paint (the background), at the painter's size.",
                ),
                PlacementType.Output(
                    display_name="placement",
                    tooltip="Which box of each photo lies in which box of the canvas.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        photo,
        preset,
        width,
        height,
        painter,
        scale,
        horizontal,
        vertical,
        margin,
        product_mask=None,
        aspect=sizes.PRESET_ASPECT,
    ) -> io.NodeOutput:
        canvas_size = sizes.canvas_size(preset, width, height, aspect)
        paint_size = sizes.paint_size(painter, canvas_size)
        arrangement = Arrangement(scale, horizontal, vertical, margin)
        ready = prepare_product(photo, product_mask, canvas_size, paint_size, arrangement)
        return io.NodeOutput(
            ready.canvas,
            ready.product_mask,
            ready.background_mask,
            ready.paint_canvas,
            ready.paint_mask,
            [placement.to_json() for placement in ready.placements],
        )


class CompositeProduct(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PBG_CompositeProduct",
            display_name="Composite Product",
            category="Product Background",
            description="Puts the photographed product over the painted background, bit for bit, with a clean edge.",
            inputs=[
                io.Image.Input(
                    "background",
                    tooltip="The decoded painting. It may be smaller than the canvas (it is enlarged first) and may "
                    "show the product (it is taken out first).",
                ),
                io.Image.Input("canvas", tooltip="Prepare Product's canvas."),
                io.Mask.Input("product_mask", tooltip="Prepare Product's product_mask: 1 on the product."),
            ],
            outputs=[
                io.Image.Output(
                    display_name="image",
                    tooltip="The finished picture at the canvas's size. Where the mask is 1 it is the canvas itself.",
                ),
            ],
        )

    @classmethod
    def execute(cls, background, canvas, product_mask) -> io.NodeOutput:
        return io.NodeOutput(composite_product(background, canvas, product_mask))
