"""Load Product Photo: a photograph from ComfyUI's input folder, as cameras and sellers make them, or over a link."""

import hashlib
import math
import os

import folder_paths
from comfy_api.latest import io

from ..bg_core.photo import photo_tensors, read_photo
from ..bg_core.picture import picture_tensors

# ComfyUI says None for an input that is connected, and nothing for one that isn't.
UNCONNECTED = "unconnected"


def photos_in(folder: str) -> list[str]:
    """The names of the images there; none where the folder can't be read.

    ComfyUI asks for the schema while it loads the pack: an error here would take all of the pack's nodes away.
    """
    try:
        files = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    except OSError:
        return []
    return sorted(folder_paths.filter_files_content_types(files, ["image"]))


class LoadProductPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="PBG_LoadProductPhoto",
            display_name="Load Product Photo",
            category="Product Background",
            description="Reads a product photograph: upright, in sRGB, its alpha as product mask.",
            inputs=[
                io.Combo.Input(
                    "image",
                    options=photos_in(folder_paths.get_input_directory()),
                    upload=io.UploadType.image,
                    image_folder=io.FolderType.input,
                    tooltip="A still picture in ComfyUI's input folder. JPEG, PNG, WebP or TIFF; with or without "
                    "alpha; RGB, grey, palette or CMYK. Animations are refused.",
                ),
                io.Image.Input(
                    "picture",
                    optional=True,
                    tooltip="Connected: used instead of the file. Pictures with or without alpha, of any number; "
                    "the alpha becomes product_mask.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="photo",
                    tooltip="The photograph, upright and in sRGB, every value on the 8-bit grid.",
                ),
                io.Mask.Output(
                    display_name="product_mask",
                    tooltip="1 on the product, from the alpha. 64x64 zeros where there is none: "
                    "Prepare Product then cuts the product out itself.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, image, picture=UNCONNECTED) -> bool | str:
        # Something that isn't text comes over a link and is unknown before the graph runs.
        if picture is not UNCONNECTED or not isinstance(image, str) or folder_paths.exists_annotated_filepath(image):
            return True
        return (
            f"There is no file '{image}' in ComfyUI's input folder ({folder_paths.get_input_directory()}). "
            "Upload the photograph or choose another one."
        )

    @classmethod
    def fingerprint_inputs(cls, image, picture=UNCONNECTED) -> str | float:
        if picture is not UNCONNECTED:
            return "the file isn't read"
        if not isinstance(image, str):
            return math.nan  # a name over a link: known only when the graph runs, so that it is always read again
        with open(folder_paths.get_annotated_filepath(image), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @classmethod
    def execute(cls, image, picture=None) -> io.NodeOutput:
        if picture is not None:
            return io.NodeOutput(*picture_tensors(picture))
        photo = read_photo(folder_paths.get_annotated_filepath(image))
        return io.NodeOutput(*photo_tensors(photo))
