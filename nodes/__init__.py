"""The pack's nodes: thin V3 schemas over `bg_core`. Imported inside ComfyUI only."""

from comfy_api.latest import ComfyExtension, io

from . import category_files, style_files
from .attention import AttentionMap, AttentionTap, MaskGuidedAttention
from .category import CategoryConditioning, LoadCategoryWeights
from .category_route import register_category_route
from .demonstration_base import register_demonstration_base
from .photo import LoadProductPhoto
from .product import CompositeProduct, PrepareProduct
from .style import ApplyStyleReference, EncodeStyleReference, LoadStyleWeights
from .weights_route import register_weights_route

NODES: list[type[io.ComfyNode]] = [
    LoadProductPhoto,
    PrepareProduct,
    CompositeProduct,
    LoadCategoryWeights,
    CategoryConditioning,
    MaskGuidedAttention,
    AttentionTap,
    AttentionMap,
    LoadStyleWeights,
    EncodeStyleReference,
    ApplyStyleReference,
]


class ProductBackgroundExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)


def create_extension() -> ProductBackgroundExtension:
    """Makes ComfyUI know the pack's model folders, routes and demonstration base, and returns the extension."""
    # Here and not in on_load(): ComfyUI 0.3.75 never calls on_load().
    register_demonstration_base()
    category_files.register()
    style_files.FOLDER.register()
    register_weights_route()
    register_category_route()
    return ProductBackgroundExtension()
