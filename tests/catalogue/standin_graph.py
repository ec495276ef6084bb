"""What the stand-in server knows of graphs: a few nodes, their validation in ComfyUI's words, and a tiny picture."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from typing import Any

from PIL import Image

Graph = dict[str, Any]
MAX_SEED = 2**64 - 1


def _node(name: str, required: dict[str, Any], output: list[str], *, saves: bool = False, **optional: Any) -> Graph:
    return {
        "input": {"required": required, "optional": optional},
        "input_order": {"required": list(required), "optional": list(optional)},
        "output": output,
        "output_is_list": [False] * len(output),
        "output_name": output,
        "name": name,
        "display_name": name,
        "description": "",
        "category": "stand-in",
        "python_module": "nodes",
        "output_node": saves,
    }


def object_info(checkpoints: list[str]) -> dict[str, Graph]:
    nodes = [
        _node("LoadImage", {"image": [["example.png"], {"image_upload": True}]}, ["IMAGE", "MASK"]),
        _node("CheckpointLoaderSimple", {"ckpt_name": [checkpoints, {}]}, ["MODEL", "CLIP", "VAE"]),
        _node("CLIPTextEncode", {"text": ["STRING", {"multiline": True}], "clip": ["CLIP", {}]}, ["CONDITIONING"]),
        _node(
            "Paint",
            {
                "model": ["MODEL", {}],
                "positive": ["CONDITIONING", {}],
                "image": ["IMAGE", {}],
                "seed": ["INT", {"default": 0, "min": 0, "max": MAX_SEED, "control_after_generate": True}],
                "steps": ["INT", {"default": 20, "min": 1, "max": 100}],
                "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0}],
                "sampler": [["euler", "heun"], {}],
            },
            ["IMAGE"],
            size=["COMBO", {"options": [512, 768], "default": 512}],
            tiled=["BOOLEAN", {"default": False}],
            mask=["IMAGE", {}],
        ),
        _node("Inspect", {"image": ["IMAGE", {}]}, [], saves=True),
        _node("SaveImage", {"images": ["IMAGE", {}], "filename_prefix": ["STRING", {"default": "x"}]}, [], saves=True),
    ]
    return {node["name"]: node for node in nodes}


def example_graph() -> Graph:
    """Photo and prompt to one saved picture, and a score."""

    def node(kind: str, title: str, **inputs: Any) -> Graph:
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    return {
        "1": node("LoadImage", "Photo", image="example.png"),
        "2": node("CheckpointLoaderSimple", "Checkpoint", ckpt_name="base.safetensors"),
        "3": node("CLIPTextEncode", "Prompt", text="", clip=["2", 1]),
        "4": node(
            "Paint",
            "Sampler",
            model=["2", 0],
            positive=["3", 0],
            image=["1", 0],
            seed=0,
            steps=4,
            cfg=7.0,
            sampler="euler",
        ),
        "5": node("SaveImage", "Save", images=["4", 0], filename_prefix="shop/picture"),
        "6": node("Inspect", "Inspector", image=["4", 0]),
    }


BINDINGS = ("Photo.image={image}", "Prompt.text={prompt}", "Sampler.seed={seed}")
"""For `--bind`."""


def validate(graph: Graph, nodes: dict[str, Graph], uploads: set[str]) -> tuple[Graph | None, list[str], Graph]:
    """Error (None: some outputs can run), outputs that run, and errors by node: as execution.validate_prompt."""
    for node_id, node in graph.items():
        kind = node.get("class_type")
        if kind not in nodes:
            text = f"Cannot execute because node {kind} does not exist."
            return _error("invalid_prompt", text, f"Node ID '#{node_id}'"), [], {}
    outputs = [node_id for node_id, node in graph.items() if nodes[node["class_type"]]["output_node"]]
    if not outputs:
        return _error("prompt_no_outputs", "Prompt has no outputs", ""), [], {}
    faults: dict[str, list[Graph]] = {}
    good = [output for output in outputs if _valid(output, graph, nodes, uploads, faults, ())]
    node_errors = {
        node_id: {"errors": errors, "dependent_outputs": [], "class_type": graph[node_id]["class_type"]}
        for node_id, errors in faults.items()
        if errors
    }
    if good:
        return None, good, node_errors
    details = "\n".join(f"{e['message']}: {e['details']}" for errors in faults.values() for e in errors)
    return _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", details), [], node_errors


def _error(kind: str, message: str, details: str) -> Graph:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}


def _valid(
    node_id: str, graph: Graph, nodes: dict[str, Graph], uploads: set[str], faults: dict[str, list[Graph]], above: Any
) -> bool:
    if node_id in above:
        faults.setdefault(node_id, []).append(
            _error("exception_during_validation", "Exception when validating node", "maximum recursion depth exceeded")
        )
        return False
    if node_id in faults:
        return not faults[node_id]
    errors, valid = [], True
    node = graph[node_id]
    declared = nodes[node["class_type"]]["input"]
    for name, (kind, *rest) in {**declared["required"], **declared["optional"]}.items():
        if name not in node["inputs"]:
            if name in declared["required"]:
                errors.append(_error("required_input_missing", "Required input is missing", name))
            continue
        value = node["inputs"][name]
        if isinstance(value, list):
            if len(value) == 2 and value[0] in graph:
                valid = _valid(value[0], graph, nodes, uploads, faults, (*above, node_id)) and valid
            else:
                errors.append(_error("exception_during_validation", "Exception when validating node", repr(value[:1])))
            continue
        if error := _value_error(name, value, kind, rest[0] if rest else {}, uploads):
            errors.append(error)
    faults[node_id] = errors
    return valid and not errors


def _value_error(name: str, value: Any, kind: Any, limits: Graph, uploads: set[str]) -> Graph | None:
    options = kind if isinstance(kind, list) else limits.get("options")
    if limits.get("image_upload"):
        if value in uploads:
            return None
        return _error(
            "custom_validation_failed", "Custom validation failed for node", f"{name} - Invalid image file: {value}"
        )
    if options is not None:
        if value in options:
            return None
        return _error("value_not_in_list", "Value not in list", f"{name}: '{value}' not in {options}")
    if "[refuse]" in str(value):
        return _error("custom_validation_failed", "Custom validation failed for node", f"{name} - refused")
    if kind not in ("INT", "FLOAT"):
        return None
    try:
        number = int(value) if kind == "INT" else float(value)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"Failed to convert an input value to a {kind} value"
        return _error("invalid_input_type", message, f"{name}, {value}, {error}")
    if number < limits["min"]:
        return _error("value_smaller_than_min", f"Value {number} smaller than min of {limits['min']}", name)
    if number > limits["max"]:
        return _error("value_bigger_than_max", f"Value {number} bigger than max of {limits['max']}", name)
    return None


def find(graph: Graph, kind: str) -> Graph | None:
    """Inputs of the first node of a kind."""
    return next((node["inputs"] for node in graph.values() if node["class_type"] == kind), None)


def paint(graph: Graph, photo: bytes, extra: Graph) -> bytes:
    """A PNG of 8x8 pixels whose colour the photo, prompt and seed decide; graph and extra are in its text, as usual."""
    text, seed = (find(graph, "CLIPTextEncode") or {}).get("text"), (find(graph, "Paint") or {}).get("seed")
    colour = colour_of(photo, str(text), seed)
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))]
    for name, value in {"prompt": graph, **extra.get("extra_pnginfo", {})}.items():
        chunks.append(_chunk(b"tEXt", name.encode() + b"\0" + json.dumps(value).encode()))
    chunks.append(_chunk(b"IDAT", zlib.compress((b"\0" + bytes(colour) * 8) * 8, 1)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


def colour_of(photo: bytes, text: str, seed: Any) -> tuple[int, int, int]:
    digest = hashlib.sha256(photo + f"|{text}|{seed}".encode("utf-8", "replace")).digest()
    return digest[0], digest[1], digest[2]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def broken(photo: bytes) -> str | None:
    """What LoadImage would say of a file."""
    try:
        with Image.open(io.BytesIO(photo)) as image:
            image.load()
    except Exception as error:
        return str(error) or type(error).__name__
    return None
