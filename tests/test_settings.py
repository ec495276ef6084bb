"""Settings of runs: files that extend others, and what is said of bad ones."""

from pathlib import Path

import pytest

from bg_core.errors import ProductBackgroundError
from training.settings import Settings, read_toml

CONFIGS = Path(__file__).resolve().parents[1] / "training" / "configs"
WHOLE = """
seed = 1
steps = 2
batch = 3
learning_rate = 0.1
warmup = 0
ema = 0.9
minutes_between_saves = 5
[options]
side = 64
[options.rates]
lora = 0.5
identifiers = 1.0
"""


def test_a_file_says_only_what_differs(tmp_path: Path):
    (tmp_path / "whole.toml").write_text(WHOLE)
    (tmp_path / "longer.toml").write_text('extends = "whole.toml"\nsteps = 20\n[options.rates]\nlora = 0.1')
    below = tmp_path / "runs"
    below.mkdir()
    (below / "own.toml").write_text('extends = "../longer.toml"\n[options]\nside = 96')
    settings = Settings.read(below / "own.toml")
    assert (settings.seed, settings.steps) == (1, 20)
    assert settings.options == {"side": 96, "rates": {"lora": 0.1, "identifiers": 1.0}}
    assert Settings.read(tmp_path / "whole.toml").options["side"] == 64
    (below / "of_ours.toml").write_text('extends = "category.toml"\nsteps = 7')
    ours = Settings.read(below / "of_ours.toml")
    assert ours.steps == 7 and ours.options == Settings.read(CONFIGS / "category.toml").options


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*_continued.toml")), ids=lambda path: path.name)
def test_every_continuation_is_a_run_of_its_trainer(path: Path):
    first = Settings.read(path.with_name(path.name.replace("_continued", "")))
    more = Settings.read(path)
    assert set(more.options) == set(first.options) and more != first


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('extends = "own.toml"', "own.toml extends own.toml, which in turn extends it"),
        ('extends = "gone.toml"', "No settings at .*gone.toml, which .*own.toml extends"),
        ("extends = 3", "extends = 3; accepted is a file's name"),
        ("extends = ", "is no TOML file"),
        ("steps = 3", "settings batch, ema, .* are missing"),
        (WHOLE.replace("seed", "sead"), "unknown settings sead; known are"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, text: str, said: str):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ProductBackgroundError, match=said):
        Settings.read(tmp_path / "own.toml")


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(ProductBackgroundError, match=r"No settings at .*none\.toml"):
        read_toml(tmp_path / "none.toml")
