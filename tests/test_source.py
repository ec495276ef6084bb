"""What the pack's source must not hold, read from its syntax tree: running it shows only the paths that were taken."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([ROOT / "__init__.py", *(ROOT / "nodes").rglob("*.py"), *(ROOT / "bg_core").rglob("*.py")])

# Of the trainers, and what reaches into the network.
FOREIGN = {"diffusers", "transformers", "accelerate", "requests", "httpx", "urllib", "urllib3", "socket", "http"}
# In ComfyUI the pack's folder isn't on sys.path, and `nodes` is the host's own module.
OURS = {"bg_core", "nodes", "training", "catalogue", "scripts"}

# Keyword arguments that ComfyUI 0.3.64 knows. One that it doesn't makes the whole pack vanish there.
_INPUT = {"id", "display_name", "optional", "tooltip", "lazy", "extra_dict"}
_WIDGET = _INPUT | {"default", "socketless", "force_input"}
_NUMBER = _WIDGET | {"min", "max", "step", "display_mode"}
KNOWN_ARGUMENTS = {
    "Schema": {
        *("node_id", "display_name", "category", "inputs", "outputs", "hidden", "description"),
        *("is_input_list", "is_output_node", "is_deprecated", "is_experimental", "is_api_node"),
        *("not_idempotent", "enable_expand"),
    },
    "Input": _INPUT,
    "Int.Input": _NUMBER | {"control_after_generate"},
    "Float.Input": _NUMBER | {"round"},
    "Boolean.Input": _WIDGET | {"label_on", "label_off"},
    "String.Input": _WIDGET | {"multiline", "placeholder", "dynamic_prompts"},
    "Combo.Input": _WIDGET - {"force_input"}
    | {"options", "control_after_generate", "upload", "image_folder", "remote"},
    "Output": {"id", "display_name", "tooltip", "is_output_list"},
}


def imports(source: str) -> Iterator[str]:
    """The top-level name of every absolute import, those inside functions among them."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def unknown_arguments(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        kind = name.removeprefix("io.")
        known = KNOWN_ARGUMENTS.get(kind) or KNOWN_ARGUMENTS.get(kind.split(".")[-1])
        if known is None or not (name.startswith("io.") or kind.endswith((".Input", ".Output"))):
            continue
        # An argument of None is `**something`: nobody can read what is in it.
        yield from (f"{name}({keyword.arg})" for keyword in node.keywords if keyword.arg not in known)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_and_schema_arguments(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert set(imports(source)) & (FOREIGN | OURS) == set()
    assert list(unknown_arguments(source)) == []


def test_model_package_knows_neither_the_host_nor_the_nodes() -> None:
    host = {"comfy", "comfy_api", "comfy_extras", "folder_paths", "node_helpers", "server"}
    for path in FILES:
        if path.parent.name == "bg_core":
            source = path.read_text(encoding="utf-8")
            assert set(imports(source)) & host == set(), path.name
            levels = {node.level for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)}
            assert levels <= {0, 1}, f"{path.name} reaches out of bg_core"


def test_what_is_looked_for_is_found() -> None:
    assert list(
        imports("def f():\n    import urllib.request\n    from nodes.x import y\n    from .socket import z")
    ) == [
        "urllib",
        "nodes",
    ]
    bad = (
        "io.Schema(node_id='a', search_aliases=[])",
        "io.Schema(is_dev_only=True)",
        "io.Schema(essentials_category='x')",
        "io.Int.Input('a', advanced=True)",
        "Placement.Output(**options)",
        "io.Image.Input('a', default=1)",
    )
    assert [source for source in bad if not list(unknown_arguments(source))] == []
