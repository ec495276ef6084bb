"""Load Product Photo: a photograph from ComfyUI's input folder, as cameras and sellers make them."""

import hashlib
import os

import folder_paths
from comfy_api.latest import io

from ..bg_core.photo import photo_tensors, read_photo


class LoadProductPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        folder = folder_paths.get_input_directory()
        files = [name for name in os.listdir(folder) if os.path.isfile(os.path.join(folder, name))]
        return io.Schema(
            node_id="PBG_LoadProductPhoto",
            display_name="Load Product Photo",
            category="Product Background",
            description="Reads a product photograph: upright, in sRGB, its alpha as product mask.",
            inputs=[
                io.Combo.Input(
                    "image",
                    options=sorted(folder_paths.filter_files_content_types(files, ["image"])),
                    upload=io.UploadType.image,
                    image_folder=io.FolderType.input,
                    tooltip="A still picture in ComfyUI's input folder. JPEG, PNG, WebP or TIFF; with or without "
                    "alpha; RGB, grey, palette or CMYK. Animations are refused.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="photo",
                    tooltip="The photograph, upright and in sRGB, every value on the 8-bit grid.",
                ),
                io.Mask.Output(
                    display_name="product_mask",
                    tooltip="1 on the product, from the file's alpha. 64x64 zeros where the file has none: "
                    "Prepare Product then cuts the product out itself.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, image) -> bool | str:
        # Something that isn't text comes over a link and is unknown before the graph runs.
        if not isinstance(image, str) or folder_paths.exists_annotated_filepath(image):
            return True
        return (
            f"There is no file '{image}' in ComfyUI's input folder ({folder_paths.get_input_directory()}). "
            "Upload the photograph or choose another one."
        )

    @classmethod
    def fingerprint_inputs(cls, image) -> str:
        with open(folder_paths.get_annotated_filepath(image), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    @classmethod
    def execute(cls, image) -> io.NodeOutput:
        photo = read_photo(folder_paths.get_annotated_filepath(image))
        return io.NodeOutput(*photo_tensors(photo))
