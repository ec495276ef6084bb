"""Load Category Weights and Category Conditioning: a category's identifier as part of the prompt."""

from comfy_api.latest import io, ui

from ..bg_core.errors import ProductBackgroundError
from ..bg_core.prompt import Prompt, tokenize
from ..bg_core.prompt_text import CATEGORY, IDENTIFIER, TEMPLATE, parse
from ..bg_core.vocabulary import Category, CategoryVocabulary
from .category_files import FOLDER
from .text_encoder import TextEncoder

CategoryWeightsType = io.Custom("PBG_CATEGORY_WEIGHTS")


class LoadCategoryWeights(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PBG_LoadCategoryWeights",
            display_name="Load Category Weights",
            category="Product Background",
            description="Opens a file of category identifiers; none of them is read before it is used.",
            inputs=[
                io.Combo.Input(
                    "weights_name",
                    options=FOLDER.files(),
                    tooltip="A category file in one of ComfyUI's category_weights model folders. Files are known by "
                    "their content; others there aren't listed.",
                ),
            ],
            outputs=[
                CategoryWeightsType.Output(
                    display_name="weights", tooltip="The file's categories, for Category Conditioning."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, weights_name) -> bool | str:
        return FOLDER.verdict(weights_name)

    @classmethod
    def fingerprint_inputs(cls, weights_name) -> str | float:
        return FOLDER.fingerprint(weights_name)

    @classmethod
    def execute(cls, weights_name) -> io.NodeOutput:
        return io.NodeOutput(FOLDER.open(weights_name))


class CategoryConditioning(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PBG_CategoryConditioning",
            display_name="Category Conditioning",
            category="Product Background",
            description="Encodes a text in which a category's identifier stands, and remembers where, so that "
            "Mask-Guided Attention can keep it to the background.",
            inputs=[
                io.Clip.Input("clip", tooltip="The checkpoint's text encoder."),
                CategoryWeightsType.Input("weights", tooltip="Load Category Weights' categories."),
                io.String.Input(
                    "category",
                    default="",
                    placeholder="mug, or stoneware tea cup",
                    tooltip="A category of the file by name or alias, or any words for the product: the nearest "
                    "category is taken, and shown. Where none is near, the names most alike are listed.",
                ),
                io.String.Input(
                    "text",
                    default=TEMPLATE,
                    multiline=True,
                    # ComfyUI's browser side would take {category} for a choice of one and drop the braces
                    dynamic_prompts=False,
                    tooltip=f"The prompt. {CATEGORY} becomes the category's words, {IDENTIFIER} its identifier; both "
                    "may stand anywhere, brackets give weights, and the rest is yours.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How strongly the identifier speaks: 0 = a neutral word in its place, 1 = as trained.",
                ),
                io.Boolean.Input(
                    "described_scene_as_text",
                    default=False,
                    tooltip="On: the category's typical background in words instead of its identifier. Works with any "
                    "checkpoint; what words can't say is lost.",
                ),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="The positive conditioning, with its token positions."
                ),
                io.String.Output(display_name="chosen", tooltip="The category that was taken, and why."),
            ],
        )

    @classmethod
    def execute(cls, clip, weights, category, text, strength, described_scene_as_text) -> io.NodeOutput:
        encoder = TextEncoder(clip)
        match = weights.find(category)
        chosen = match.explain(category)
        if described_scene_as_text:
            prompt, vectors = described_prompt(encoder, match.category, text, weights), None
        else:
            check_fit(weights, encoder)
            pieces = parse(text, match.category.words)
            prompt = tokenize(pieces, encoder.tokens, weights.vectors, encoder.width)
            vectors = weights.identifier(match.row)
            chosen += lora_note(weights)
        return io.NodeOutput(encoder.conditioning(prompt, vectors, strength), chosen, ui=ui.PreviewText(chosen))


def described_prompt(encoder: TextEncoder, category: Category, text: str, weights: CategoryVocabulary) -> Prompt:
    """The prompt with the category's scene in words where the identifier would stand."""
    if not category.scene:
        raise ProductBackgroundError(
            f"{weights.path.name} describes no scene for '{category.name}'. Switch described_scene_as_text off, or "
            f"write a background of your own in place of {IDENTIFIER} with a stock text encoding node."
        )
    return tokenize(parse(text, category.words, category.scene), encoder.tokens, 0, encoder.width)


def lora_note(weights: CategoryVocabulary) -> str:
    """What to load besides, where the identifiers were trained with a LoRA: without it they mean little."""
    name = weights.header.config.get("lora")
    return f"; trained with the LoRA {name}: load it with a stock LoRA node" if name else ""


def check_fit(weights: CategoryVocabulary, encoder: TextEncoder) -> None:
    """Refuse identifiers of another base than the CLIP's."""
    if weights.width != encoder.width:
        raise ProductBackgroundError(
            f"The identifiers in {weights.path.name} fit the base '{weights.base}', whose text encoder is "
            f"{weights.width} wide; this CLIP is {encoder.width} wide. Load the weights that belong to this "
            "checkpoint, train them (python -m training.train_category --help), or switch described_scene_as_text on: "
            "then the category's typical background is written into the text."
        )
