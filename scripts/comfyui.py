"""A ComfyUI with this pack in it: start it, watch it, stop it.

    python3.11 -m scripts.comfyui [--port 8188] [--folder DIR]    a server in the foreground, for a person

`COMFYUI_PATH` names a ComfyUI to use instead of the one that scripts/environment.py fetches; it is only read. Only the
standard library is used: scripts/environment.py needs this file before anything is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CACHE = ROOT / ".cache"
PHOTOS = ROOT / "product_photos"

# Hyphenated on purpose: users clone under any name, and this one is not importable as a package.
PACK_FOLDER = "product-background"


class HostError(RuntimeError):
    """ComfyUI could not be set up, or did not start as it should. The message is complete."""


def say(text: str) -> None:
    print(text, flush=True)


def users_comfyui() -> Path | None:
    """The ComfyUI that COMFYUI_PATH names, if it names one."""
    named = os.environ.get("COMFYUI_PATH")
    if not named:
        return None
    path = Path(named).expanduser().resolve()
    if not (path / "main.py").is_file():
        raise HostError(f"COMFYUI_PATH is {path}, but there is no main.py in it.")
    return path


def comfyui_path() -> Path:
    """The ComfyUI to run: the user's, or ours."""
    return users_comfyui() or CACHE / "comfyui"


def free_port(wanted: int = 0) -> int:
    """The wanted port if nobody listens there, or any free one for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            raise HostError(
                f"Port {wanted} can't be used ({error.strerror}). Stop what listens there, or choose another."
            ) from error
        return int(probe.getsockname()[1])


def failed_import(log: str) -> str | None:
    """The part of the log that tells why a node pack did not load, if one did not.

    ComfyUI goes on without it and even exits with 0. Its own audio nodes fail for want of torchaudio; they may.
    """
    lines = log.splitlines()
    for index, line in enumerate(lines):
        broken = re.search(r"Cannot import .*|Error while calling comfy_entrypoint.*|\(IMPORT FAILED\).*", line)
        if broken and "No module named 'torchaudio'" not in line:
            return "\n".join(lines[max(0, index - 25) : index + 1])
    return None


class ComfyServer:
    """A ComfyUI with this pack in it, on a free port, for the length of a `with` block.

    `base` is its own world of models, custom_nodes, input and output; a temporary folder if none is given.
    """

    def __init__(
        self,
        base: Path | None = None,
        *,
        port: int = 0,
        cpu: bool = shutil.which("nvidia-smi") is None,
        threads: int | None = None,
        start_limit: float = 180.0,
    ) -> None:
        self.port = free_port(port)  # first: it may refuse, and then no folder must be left behind
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if base is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="product-background-", ignore_cleanup_errors=True)
            base = Path(self._temporary.name)
        self.base = base.resolve()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = self.base / "comfyui.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._cpu = cpu
        self._threads = threads
        self._start_limit = start_limit

    def __enter__(self) -> ComfyServer:
        try:
            self._start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def exit_code(self) -> int | None:
        """None while the server runs."""
        return self.process.poll() if self.process else None

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.is_file() else ""

    def _start(self) -> None:
        if not PYTHON.exists():
            raise HostError(f"There is no environment in {VENV}. Make it with: make setup")
        for name in ("models/checkpoints", "custom_nodes", "input", "output"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        self.link_pack()
        command = [str(PYTHON), str(comfyui_path() / "main.py"), "--base-directory", str(self.base)]
        command += ["--port", str(self.port), "--disable-auto-launch", "--disable-api-nodes"]
        command += ["--database-url", "sqlite:///:memory:", *(["--cpu"] if self._cpu else [])]
        # The pack must not be importable by chance, and nothing may be downloaded behind the user's back.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
        # Threads that spin while they wait for each other make a busy machine many times slower.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        if self._threads:
            environment["OMP_NUM_THREADS"] = str(self._threads)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.base, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def link_pack(self) -> None:
        """This checkout as a custom node; a link that another checkout left is replaced."""
        link = self.base / "custom_nodes" / PACK_FOLDER
        if link.exists() and not link.is_symlink():
            raise HostError(f"{link} is in the way: a link to this checkout belongs there. Move it away.")
        link.unlink(missing_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + self._start_limit
        while True:
            if self.exit_code is not None:
                raise HostError(self.with_log(f"ComfyUI ended while starting (exit code {self.exit_code})."))
            try:
                opener.open(f"{self.url}/system_stats", timeout=5).close()
                break
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                if time.monotonic() > deadline:
                    raise HostError(self.with_log(f"ComfyUI did not answer in {self._start_limit:.0f} s.")) from None
                time.sleep(0.2)
        if reason := failed_import(self.log()):
            raise HostError(f"ComfyUI could not load a node pack:\n{reason}")

    def with_log(self, message: str) -> str:
        tail = "\n".join(self.log().splitlines()[-40:])
        return f"{message} The end of its log:\n{tail}"

    def stop(self) -> None:
        """End the server's own process group: a request first, then by force."""
        if self.process is not None and self.exit_code is None:
            self._signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
                self.process.wait()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
            os.killpg(self.process.pid, number)


def has_display() -> bool:
    """Whether a browser could show itself; on a headless machine it would take over the terminal."""
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


def photographs() -> list[Path]:
    """Our photographs of products, and those of references."""
    return sorted(path for path in PHOTOS.rglob("*.*") if path.suffix in (".jpg", ".jpeg", ".png"))


def serve(port: int, folder: Path) -> None:
    """A server for a person: stays in the foreground and shows its log, until it is interrupted."""
    (folder / "input").mkdir(parents=True, exist_ok=True)
    for photo in photographs():
        shutil.copy2(photo, folder / "input")
    say("Starting ComfyUI (about 10 s) ...")
    with ComfyServer(folder, port=port) as server, server.log_path.open(errors="replace") as log:
        say(log.read())
        say(f"ComfyUI is at {server.url}   (workflow: Browse Templates, {PACK_FOLDER};  stop: Ctrl-C)")
        if has_display():
            webbrowser.open(server.url)
        while server.exit_code is None:
            print(log.read(), end="", flush=True)
            time.sleep(0.3)
        print(log.read(), end="", flush=True)
        raise HostError(f"ComfyUI ended by itself (exit code {server.exit_code}); its log is above.")


def stop_on_sigterm() -> None:
    """Let a SIGTERM end the program as Ctrl-C does, so that the server is stopped then, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def main() -> int:
    parser = argparse.ArgumentParser(description="Run ComfyUI with this pack in the foreground.")
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--folder", type=Path, default=ROOT / "output" / "comfyui", help="its models, input and output")
    arguments = parser.parse_args()
    stop_on_sigterm()
    try:
        serve(arguments.port, arguments.folder)
    except HostError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
