"""Product Background: a ComfyUI node pack that paints a selling background around a real product photograph.

Nothing of ComfyUI is imported before ComfyUI asks for the nodes, so that tests and tools can import `bg_core` alone.
"""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Called once by ComfyUI at its start; returns the extension that lists this pack's nodes."""
    from .nodes import create_extension

    return create_extension()
