"""Our own handling of the host: a server that cannot be used is an error that says why."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from scripts.comfyui import PACK_FOLDER, ROOT, ComfyServer, HostError, comfyui_path, failed_import, has_display


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
    server = ComfyServer(tmp_path, cpu=True, threads=1)
    with pytest.raises(HostError, match="this pack is broken"), server:
        pass
    assert server.process is not None and server.process.poll() is not None  # stopped all the same


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.py").write_text("raise SystemExit('no ComfyUI in here')")
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    server = ComfyServer(cpu=True, threads=1)
    with pytest.raises(HostError, match=r"(?s)ended while starting.*no ComfyUI in here"), server:
        pass


def test_a_server_that_never_answers_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "main.py").write_text("import time; print('still thinking', flush=True); time.sleep(600)")
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    server = ComfyServer(cpu=True, threads=1, start_limit=15)
    with pytest.raises(HostError, match=r"(?s)did not answer.*still thinking"), server:
        pass
    assert server.process is not None
    with pytest.raises(ProcessLookupError):
        os.killpg(server.process.pid, 0)


def test_a_port_in_use_is_named(server: ComfyServer) -> None:
    """Else the other server would be taken for ours."""
    with pytest.raises(HostError, match=str(server.port)):
        ComfyServer(port=server.port)


def test_the_pack_is_linked_anew_from_another_checkout(tmp_path: Path) -> None:
    custom_nodes, elsewhere = tmp_path / "custom_nodes", tmp_path / "other-checkout"
    custom_nodes.mkdir()
    elsewhere.mkdir()
    link = custom_nodes / PACK_FOLDER
    server = ComfyServer(tmp_path, cpu=True, threads=1)
    for target in (elsewhere, tmp_path / "gone", ROOT):
        link.symlink_to(target)
        server.link_pack()
        assert link.resolve() == ROOT
        link.unlink()
    shutil.copytree(elsewhere, link)
    with pytest.raises(HostError, match="in the way"):
        server.link_pack()


def test_a_server_that_is_gone_already_is_stopped_quietly(tmp_path: Path) -> None:
    server = ComfyServer(tmp_path, cpu=True)
    server.process = subprocess.Popen(["sleep", "60"], start_new_session=True)
    os.killpg(server.process.pid, signal.SIGKILL)  # not yet waited for: to us it still runs
    server.stop()
    assert server.exit_code == -signal.SIGKILL


def test_a_wrong_comfyui_path_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(HostError, match=r"COMFYUI_PATH is .*main\.py"):
        comfyui_path()


def test_comfyui_path_may_start_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "main.py").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COMFYUI_PATH", "~/mine")
    assert comfyui_path() == tmp_path / "mine"


def test_no_browser_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.setenv(name, "")
    assert not has_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_display()
