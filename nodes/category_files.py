"""ComfyUI's model folder `category_weights`."""

from __future__ import annotations

from ..bg_core.vocabulary import CategoryVocabulary
from .weight_folder import WeightFolder

KIND = "category_weights"
FOLDER = WeightFolder(KIND, CategoryVocabulary.open, "category file", "python -m training.train_category")
BUNDLED = FOLDER.bundled

register_category_weights = FOLDER.register
category_files = FOLDER.files
open_category_file = FOLDER.open
