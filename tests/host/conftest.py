"""One real ComfyUI for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from catalogue.client import ComfyClient
from catalogue.graph import load_graph
from catalogue.protocol import Graph
from scripts.comfyui import ComfyServer
from training.make_random_base import make_random_base

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 120.0  # seconds that a graph may take; pytest's own limit would not say which one it was


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyServer]:
    base = tmp_path_factory.mktemp("comfyui")
    checkpoints = base / "models" / "checkpoints"
    checkpoints.mkdir(parents=True)
    # Three files that a user may pick by mistake.
    whole = make_random_base(checkpoints / "random.safetensors").read_bytes()
    (checkpoints / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    save_file({"weight": torch.zeros(4, 4)}, checkpoints / "foreign.safetensors")
    with ComfyServer(base, cpu=True, threads=1) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: ComfyServer) -> Iterator[ComfyClient]:
    with ComfyClient(server.url, limit=LIMIT) as connected:
        yield connected


@pytest.fixture(scope="session")
def object_info(client: ComfyClient) -> dict[str, Any]:
    return client.object_info()


@pytest.fixture
def graph() -> Graph:
    return load_graph(ROOT / "workflows" / "api" / "product_background.json")


@pytest.fixture(scope="session")
def packshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A box with a printed label on white, with detail down to single pixels."""
    rng = np.random.default_rng(7)
    pixels = np.full((420, 360, 3), 255, np.uint8)
    pixels[80:360, 90:270] = (160, 40, 50)
    pixels[150:280, 110:250] = rng.integers(0, 200, (130, 140, 3))
    path = tmp_path_factory.mktemp("photos") / "packshot.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def lab(comfyui: Path) -> ModuleType:
    """A small UNet in ComfyUI's own classes, its samplers, and mask-guided attention by definition."""
    from tests.host import attention_lab

    return attention_lab


@pytest.fixture(scope="module")
def styles(lab: ModuleType) -> ModuleType:
    """The same for style references."""
    from tests.host import style_lab

    return style_lab


@pytest.fixture(scope="module")
def selves(lab: ModuleType) -> ModuleType:
    """References without trained weights, and what they must make of the lab's model."""
    from tests.host import self_lab

    return self_lab


@pytest.fixture(scope="module")
def peers(lab: ModuleType) -> ModuleType:
    """Stand-ins of other packs' patches."""
    from tests.host import attention_peers

    return attention_peers


@pytest.fixture(scope="module")
def model(lab: ModuleType) -> Any:
    return lab.new_model()


@pytest.fixture
def control(lab: ModuleType) -> Any:
    """A ControlNet with random weights that remembers which texts it was given."""
    import comfy.cldm.cldm
    import comfy.controlnet

    settings = {key: value for key, value in lab.CONFIG.items() if key not in ("out_channels", "dtype")}
    depths = {"transformer_depth_output": list(lab.CONFIG["transformer_depth_output"]), "num_heads": 8}
    network = comfy.cldm.cldm.ControlNet(**{**settings, **depths}, hint_channels=3, dtype=torch.float32)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    texts: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda module, args, kwargs: texts.append(kwargs["context"]), with_kwargs=True)
    made = comfy.controlnet.ControlNet(network, load_device=torch.device("cpu"))
    made.set_cond_hint(torch.rand(1, 3, 128, 96, generator=generator), 1.0, (0.0, 1.0))
    made.texts = texts
    return made
