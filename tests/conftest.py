"""Makes the pack importable as `product_background`, as ComfyUI does it: from its folder, which isn't on sys.path.

The trainers import `bg_core` from the repository's root, as their command lines do. In one test process both names must
mean the same modules, or there would be two ProductBackgroundError classes: `bg_core` is made an alias here. That the
pack by itself needs no such name is tested in a fresh process (test_pack_loading.py) and in its imports
(test_source.py).
"""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent

if "product_background" not in sys.modules:
    spec = importlib.util.spec_from_file_location(
        "product_background", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["product_background"] = module
    spec.loader.exec_module(module)
    for path in ["", *(f".{file.stem}" for file in sorted((ROOT / "bg_core").glob("[!_]*.py")))]:
        sys.modules[f"bg_core{path}"] = importlib.import_module(f"product_background.bg_core{path}")


@pytest.fixture(scope="session")
def comfyui() -> Path:
    """ComfyUI's own modules, importable in this process (no server): $COMFYUI_PATH, or the copy that `make` sets up."""
    folder = Path(os.environ.get("COMFYUI_PATH") or ROOT / ".cache" / "comfyui")
    # At the end of the path: ComfyUI's top-level `nodes.py` and `utils/` must not shadow anybody's.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    from comfy.cli_args import args

    args.cpu = True
    return folder


@pytest.fixture(scope="session")
def family(comfyui: Path) -> ModuleType:
    """The pack's module, with the base registered in the host."""
    module = importlib.import_module("product_background.nodes.demonstration_base")
    module.register_demonstration_base()
    return module


@pytest.fixture(scope="session")
def loaded(family: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A random base in float32, as training holds it and as the host's stock loader opens it."""
    import comfy.sd

    from training.export import load_base
    from training.make_random_base import make_random_base

    path = make_random_base(tmp_path_factory.mktemp("base") / "random.safetensors", dtype=torch.float32)
    base, _ = load_base(path)
    model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(str(path), output_vae=True, output_clip=True)
    return SimpleNamespace(path=path, base=base, model=model, clip=clip, vae=vae)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of the demonstration's layout that paints in milliseconds; it knows few words, and knows nothing."""
    from bg_core.base import BaseConfig
    from training.export import new_base, save_base
    from training.text import Vocabulary

    config = BaseConfig(
        latent_channels=4, channels=(32, 32), res_blocks=1, attention=(True, True), head_channels=32, context_width=32,
        text_layers=1, text_heads=2, text_feedforward=64,
    )  # fmt: skip
    words = ("a photo of a mug, in the background of oak and marble", "sauce perfume *")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = new_base(Vocabulary.from_captions(words), config)
    return save_base(tmp_path_factory.mktemp("tiny") / "tiny.safetensors", made, {}, dtype=torch.float32)


@pytest.fixture(scope="session")
def stock(comfyui: Path) -> ModuleType:
    return hosts_nodes(comfyui)


def hosts_nodes(comfyui: Path) -> ModuleType:
    """The host's own nodes, from its top-level `nodes.py`; under that name this process finds the pack's folder."""
    spec = importlib.util.spec_from_file_location("comfyui_nodes", comfyui / "nodes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before  # it puts `comfy` itself at the front, where its utils.py would be anybody's `utils`
    return module


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty small pictures in BG60k's layout: coloured discs on graded grounds."""
    generator = np.random.default_rng(0)
    for folder in ("bg60k_imgs_i", "bg60k_masks_i", "factors"):
        (tmp_path / folder).mkdir()
    y, x = np.mgrid[:64, :64]
    lines = []
    for i in range(40):
        disc = ((x - 32) ** 2 + (y - 34) ** 2 < (10 + i % 8) ** 2)[..., None]
        ground = (y / 64)[..., None] * generator.uniform(0, 255, 3)
        picture = np.where(disc, generator.uniform(0, 255, 3), ground).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "bg60k_imgs_i" / f"{i:02d}.png")
        Image.fromarray(disc[..., 0].astype(np.uint8) * 255).save(tmp_path / "bg60k_masks_i" / f"{i:02d}.png")
        (tmp_path / "factors" / f"{i:02d}.json").write_text(
            json.dumps({"caption": "a mug on oak, soft light from the left"})
        )
        lines.append(f"{i:02d}.png, mug\n")
    (tmp_path / "bg60k_info.txt").write_text("".join(lines))
    return tmp_path


@pytest.fixture
def evaluators() -> list:
    """Two evaluators of random weights, for tests in which it doesn't matter what they say."""
    from training.evaluators.frozen import Evaluator
    from training.evaluators.networks import build
    from training.train_evaluators import SHAPES

    made = []
    for name in ("first", "second"):
        torch.manual_seed(len(name))
        shape = {"architecture": "residual", "widths": [8, 16, 16]}
        nets = {task: build({"task": task, **shape}).eval() for task in ("segment", "contact", "twin")}
        nets |= {task: build({"task": task, **shape, **more}).eval() for task, more in SHAPES.items()}
        made.append(Evaluator(name, nets, dict.fromkeys(nets, 32), 0.0, 0.0, 0.0))
    return made
