"""ComfyUI's model folder `category_weights`."""

from ..bg_core.vocabulary import CategoryVocabulary
from .weight_folder import WeightFolder

FOLDER = WeightFolder("category_weights", CategoryVocabulary.open, "category file", "python -m training.train_category")
