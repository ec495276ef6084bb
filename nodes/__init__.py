"""The pack's nodes: thin V3 schemas over `bg_core`. Imported inside ComfyUI only."""

from comfy_api.latest import ComfyExtension, io

from .demonstration_base import register_demonstration_base
from .photo import LoadProductPhoto
from .product import CompositeProduct, PrepareProduct
from .weights_route import register_weights_route

NODES: list[type[io.ComfyNode]] = [
    LoadProductPhoto,
    PrepareProduct,
    CompositeProduct,
]


class ProductBackgroundExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)


def create_extension() -> ProductBackgroundExtension:
    """Makes ComfyUI's stock loaders know the demonstration base, and returns the extension."""
    # Here and not in on_load(): ComfyUI 0.3.75 never calls on_load().
    register_demonstration_base()
    register_weights_route()
    return ProductBackgroundExtension()
