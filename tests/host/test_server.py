"""Our own handling of the host: a server that cannot be used is an error that says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.comfyui import ComfyServer, HostError, comfyui_path, failed_import


def test_audio_nodes_may_be_missing_and_nothing_else() -> None:
    audio = "Cannot import comfy_extras/nodes_audio.py module for custom nodes: No module named 'torchaudio'"
    assert failed_import(f"{audio}\nIMPORT FAILED: nodes_audio.py\n") is None
    ours = "Traceback\nboom\nCannot import custom_nodes/product-background module for custom nodes: boom"
    assert failed_import(f"{audio}\n{ours}\nStarting server") is not None
    assert failed_import("Error while calling comfy_entrypoint in custom_nodes/x: boom") is not None
    assert failed_import("   0.1 seconds (IMPORT FAILED): custom_nodes/x") is not None


def test_a_pack_that_does_not_load_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "custom_nodes" / "broken-pack"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('this pack is broken')")
    server = ComfyServer(tmp_path, cpu=True)
    with pytest.raises(HostError, match="this pack is broken"), server:
        pass
    assert server.process is not None and server.process.poll() is not None  # stopped all the same


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.py").write_text("raise SystemExit('no ComfyUI in here')")
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(HostError, match=r"(?s)ended while starting.*no ComfyUI in here"), ComfyServer(cpu=True):
        pass


def test_a_server_that_never_answers_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.py").write_text("import time; print('still thinking', flush=True); time.sleep(600)")
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    server = ComfyServer(cpu=True, start_limit=3)
    with pytest.raises(HostError, match=r"(?s)did not answer.*still thinking"), server:
        pass
    assert server.process is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(server.process.pid, 0)


def test_a_port_in_use_is_named(server: ComfyServer) -> None:
    """Else the other server would be taken for ours."""
    with pytest.raises(HostError, match=str(server.port)):
        ComfyServer(port=server.port)


def test_a_wrong_comfyui_path_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(HostError, match=r"COMFYUI_PATH is .*main\.py"):
        comfyui_path()
