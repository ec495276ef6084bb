"""Makes the pack importable as `product_background`, as ComfyUI does it: from its folder, which isn't on sys.path."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if "product_background" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "product_background", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["product_background"] = module
    spec.loader.exec_module(module)
