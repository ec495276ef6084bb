"""ComfyUI's model folder `category_weights`, and the pack's own LoRAs, which identifiers were learned together with."""

import folder_paths

from ..bg_core.vocabulary import CategoryVocabulary
from .weight_folder import MODELS, WeightFolder

FOLDER = WeightFolder("category_weights", CategoryVocabulary.open, "category file", "python -m training.train_category")
LORAS = MODELS / "loras"


def register() -> None:
    """Adds the folders of the bundled files to those that ComfyUI knows; calling it again changes nothing."""
    FOLDER.register()
    folder_paths.add_model_folder_path("loras", str(LORAS))
