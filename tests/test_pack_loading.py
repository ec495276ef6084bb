"""The pack as users have it: a folder under any name, in a process whose sys.path does not hold it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from scripts.comfyui import comfyui_path

ROOT = Path(__file__).resolve().parent.parent
IMPORT_LIMIT_S = 0.2

LOAD_THE_PACK = """
import asyncio, gc, importlib.util, json, os, sys, time
comfyui, pack = sys.argv[1:3]
sys.argv = [sys.argv[0], "--cpu", "--base-directory", os.getcwd()]
sys.path.insert(0, comfyui)
import comfy.options
comfy.options.enable_args_parsing()
import folder_paths
import nodes
from comfy_api.latest import ComfyExtension

# ComfyUI makes an input folder where there is none; a user may take it away, or name another one.
os.rmdir(folder_paths.get_input_directory())
before = set(sys.modules)
# Torch's and ComfyUI's hundred thousands of objects are not ours: whether the collector walks through all of them just
# now, a fifth of a second, is chance.
gc.collect()
gc.freeze()
started = time.process_time(), time.perf_counter()
name = pack.replace(".", "_x_")
spec = importlib.util.spec_from_file_location(name, os.path.join(pack, "__init__.py"))
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
extension = asyncio.run(module.comfy_entrypoint())
node_list = asyncio.run(extension.get_node_list())
schemas = [node.GET_SCHEMA() for node in node_list]
ended = time.process_time(), time.perf_counter()
print(json.dumps({
    "cpu_seconds": ended[0] - started[0],
    "seconds": ended[1] - started[1],
    "is_extension": isinstance(extension, ComfyExtension),
    "nodes": {
        schema.node_id: {
            "category": schema.category,
            "inputs": [entry.id for entry in schema.inputs],
            "outputs": len(schema.outputs),
        }
        for schema in schemas
    },
    "input_folder": os.path.exists(folder_paths.get_input_directory()),
    "added": sorted(set(sys.modules) - before),
    "path": sys.path,
    "legacy_mappings": hasattr(module, "NODE_CLASS_MAPPINGS"),
    "web": module.WEB_DIRECTORY,
}))
"""


def load_in_fresh_process(folder: Path) -> dict[str, Any]:
    pack = folder / "my-product.background v2"
    if not pack.exists():
        pack.symlink_to(ROOT, target_is_directory=True)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [sys.executable, "-c", LOAD_THE_PACK, str(comfyui_path()), str(pack)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("host")
    reports = [load_in_fresh_process(folder) for _ in range(3)]
    # Other processes may slow a run down; what the import itself costs is in the fastest one.
    fastest = {key: min(float(report[key]) for report in reports) for key in ("cpu_seconds", "seconds")}
    return reports[0] | fastest


def test_loads_from_any_folder_name(loaded: dict[str, Any]) -> None:
    assert loaded["is_extension"]
    assert loaded["nodes"]
    assert all(node_id.startswith("PBG_") for node_id in loaded["nodes"])
    # With it, ComfyUI would ignore comfy_entrypoint.
    assert not loaded["legacy_mappings"]
    assert (ROOT / loaded["web"]).is_dir()


def test_the_pack_was_not_importable_by_chance(loaded: dict[str, Any]) -> None:
    assert str(ROOT) not in loaded["path"]
    own = {"bg_core", "training", "catalogue", "product_background"}
    assert not own & {name.split(".")[0] for name in loaded["added"]}


def test_import_is_cheap(loaded: dict[str, Any]) -> None:
    # What ComfyUI itself has imported before (transformers), or a function imports later, is for test_source.py to see.
    heavy = {"diffusers", "accelerate", "bpy", "httpx", "rich", "matplotlib", "pandas"}
    assert not heavy & {name.split(".")[0] for name in loaded["added"]}
    assert loaded["cpu_seconds"] <= IMPORT_LIMIT_S
    assert loaded["seconds"] <= IMPORT_LIMIT_S


def test_loads_where_there_is_no_input_folder(loaded: dict[str, Any]) -> None:
    assert not loaded["input_folder"]
    assert "PBG_LoadProductPhoto" in loaded["nodes"]


def locale_files() -> list[Path]:
    return sorted((ROOT / "locales").glob("*/nodeDefs.json"))


@pytest.mark.parametrize("path", locale_files(), ids=lambda path: path.parent.name)
def test_translations_name_every_node_input_and_output(loaded: dict[str, Any], path: Path) -> None:
    """The browser looks names up by node id, input id and output number; what it doesn't find stays English."""
    translated = json.loads(path.read_text(encoding="utf-8"))
    found = {
        node_id: {"inputs": list(texts["inputs"]), "outputs": list(texts["outputs"])}
        for node_id, texts in translated.items()
    }
    expected = {
        node_id: {"inputs": node["inputs"], "outputs": [str(i) for i in range(node["outputs"])]}
        for node_id, node in loaded["nodes"].items()
    }
    assert found == expected
    for texts in translated.values():
        assert texts.keys() == {"display_name", "description", "inputs", "outputs"}
        for slot in [*texts["inputs"].values(), *texts["outputs"].values()]:
            assert slot.keys() == {"name", "tooltip"} and all(slot.values())
            # The browser's translator gives these a meaning of their own.
            assert not set("".join(slot.values())) & set("@{}|")
    categories = json.loads((path.parent / "main.json").read_text(encoding="utf-8"))["nodeCategories"]
    assert set(categories) == {node["category"] for node in loaded["nodes"].values()}


def test_help_page_shows_in_every_language(loaded: dict[str, Any]) -> None:
    """The browser asks for <node>/<its language>.md, then for <node>.md, never for another language's page."""
    docs = ROOT / "web" / "docs"
    for node_id in loaded["nodes"]:
        english = (docs / node_id / "en.md").read_text(encoding="utf-8")
        assert (docs / f"{node_id}.md").read_text(encoding="utf-8") == english, f"copy {node_id}/en.md to {node_id}.md"


def test_there_is_a_translation() -> None:
    assert "zh" in {path.parent.name for path in locale_files()}


def test_requirements_are_lower_bounds_without_torch() -> None:
    requirements = (ROOT / "requirements.txt").read_text().split()
    assert all(">=" in line and "<" not in line and "==" not in line for line in requirements)
    assert not any(line.startswith("torch") for line in requirements)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == requirements
