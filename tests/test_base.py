"""The demonstration base by itself: schedule, autoencoder, weight files, vocabulary, export."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bg_core import checkpoint, weights
from bg_core.autoencoder import Autoencoder, fit_latent_rgb
from bg_core.base import (
    BOS,
    DEMONSTRATION,
    EOS,
    UNKNOWN,
    BaseConfig,
    add_noise,
    alphas_cumprod,
    grey_out,
    inpainting_input,
    mask_channel,
    velocity,
)
from bg_core.errors import ProductBackgroundError


def test_schedule_ends_in_pure_noise() -> None:
    alpha_bar = alphas_cumprod()
    assert alpha_bar.shape == (1000,)
    assert bool((alpha_bar.diff() < 0).all())
    assert alpha_bar[0] == pytest.approx(1 - 0.00085, rel=1e-6)
    assert float(alpha_bar[-1]) < 1e-7


def test_velocity_and_noised_latents_give_back_the_latents() -> None:
    x, noise = torch.randn(4, 16, 3, 3), torch.randn(4, 16, 3, 3)
    a = alphas_cumprod()[torch.tensor([0, 300, 700, 999])]
    root, rest = a.sqrt().float().view(-1, 1, 1, 1), (1 - a).sqrt().float().view(-1, 1, 1, 1)
    restored = root * add_noise(x, noise, a) - rest * velocity(x, noise, a)
    torch.testing.assert_close(restored, x, atol=1e-5, rtol=1e-5)


def test_input_by_hand() -> None:
    """That the host makes the same of full pictures is in test_parity_host.py."""
    image = torch.full((1, 3, 8, 16), 0.9)
    mask = torch.zeros(1, 1, 8, 16)
    mask[..., 8:] = 0.6
    mask[..., 0, 0] = 0.4
    assert grey_out(image, mask)[0, 0, 0].tolist() == pytest.approx([0.9] * 8 + [0.5] * 8)
    assert mask_channel(mask, 1, 2).tolist() == [[[[0.0, 1.0]]]]
    channels = inpainting_input(torch.full((1, 16, 1, 2), 3.0), torch.ones(1, 1, 1, 2), torch.full((1, 16, 1, 2), 2.0))
    assert channels[0, :, 0, 0].tolist() == [3.0] * 16 + [1.0] + [2.0] * 16


def test_config_survives_json_and_refuses_what_it_does_not_know() -> None:
    config = BaseConfig(channels=(32, 64), attention=(False, True))
    assert BaseConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ProductBackgroundError, match="Unknown fields: colour"):
        BaseConfig.from_dict({"colour": 1})
    with pytest.raises(ProductBackgroundError, match="one attention flag a level"):
        BaseConfig(channels=(64,))


def test_autoencoder_shapes() -> None:
    coder = Autoencoder()
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        latents = coder.encode(images)
        assert latents.shape == (2, 16, 8, 12) and coder.decode(latents).shape == images.shape
    assert coder.blank_latent().shape == (16,)


def test_a_unit_variance_latent_loses_little_in_the_clamp() -> None:
    coder = Autoencoder()
    z = torch.tensor([1.0, 2.0, 4.0])
    kept = coder.taesd_decoder[0](z * coder.vae_scale) / coder.vae_scale / z
    assert kept[0] > 0.99 and kept[1] > 0.98 and kept[2] > 0.96


def test_preview_colours_are_recovered() -> None:
    torch.manual_seed(0)
    latents = torch.randn(2, 16, 6, 6)
    true = torch.randn(17, 3) * 0.1
    colours = torch.einsum("bchw,cr->brhw", latents, true[:-1]) + true[-1].view(1, 3, 1, 1)
    images = torch.nn.functional.interpolate(colours / 2 + 0.5, scale_factor=8, mode="nearest")
    torch.testing.assert_close(fit_latent_rgb(latents, images), true, atol=1e-4, rtol=1e-3)


def _save(path: Path, **changes: object) -> Path:
    fields = {"kind": "category", "base": "demo", "config": {"width": 4}, "training": {"seed": 1}} | changes
    return weights.save(path, {"a": torch.arange(8.0).view(2, 4)}, **fields)  # type: ignore[arg-type]


def test_weight_file_round_trip(tmp_path: Path) -> None:
    path = _save(tmp_path / "deep" / "w.safetensors")
    header, tensors = weights.load_checked(
        path, "category", "demo", lambda header: {"a": (None, header.config["width"])}
    )
    assert header.config == {"width": 4} and header.training == {"seed": 1} and header.shapes == {"a": (2, 4)}
    assert tensors["a"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [p.name for p in path.parent.iterdir()] == ["w.safetensors"]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode, "readable by whoever may read other files"


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = _save(tmp_path / "w.safetensors")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        _save(path, config={"not json": object()})
    assert path.read_bytes() == before


def test_unfit_weight_files_are_named(tmp_path: Path) -> None:
    path = _save(tmp_path / "w.safetensors")
    raw = path.read_bytes()

    def variant(content: bytes) -> Path:
        other = tmp_path / "other.safetensors"
        other.write_bytes(content)
        return other

    with pytest.raises(ProductBackgroundError, match="No weight file at"):
        weights.read_header(tmp_path / "none.safetensors")
    for size in (0, 5, 40, len(raw) - 1):
        with pytest.raises(ProductBackgroundError, match="truncated"):
            weights.read_header(variant(raw[:size]))
    with pytest.raises(ProductBackgroundError, match="header can't be read"):
        weights.read_header(variant(raw[:8] + b"x" + raw[9:]))
    foreign = b'{"a":{"dtype":"F32","data_offsets":[0,0]}}'  # no shape
    with pytest.raises(ProductBackgroundError, match="header can't be read"):
        weights.read_header(variant(len(foreign).to_bytes(8, "little") + foreign))
    with pytest.raises(ProductBackgroundError, match="not a weight file of this pack"):
        weights.read_header(variant(raw.replace(b"product_background/1", b"someone_elses_file/1")))
    with pytest.raises(ProductBackgroundError, match="newer release"):
        weights.read_header(variant(raw.replace(b"product_background/1", b"product_background/2")))
    with pytest.raises(ProductBackgroundError, match="holds 'category' weights"):
        weights.load_checked(path, "style")
    with pytest.raises(ProductBackgroundError, match="fits the base 'demo'"):
        weights.load_checked(path, "category", "sd15")
    with pytest.raises(ProductBackgroundError, match=r"a: expected \[2, 5\], got \[2, 4\]"):
        weights.load_checked(path, "category", expected={"a": (2, 5)})
    with pytest.raises(ProductBackgroundError, match="b: missing"):
        weights.load_checked(path, "category", expected={"a": (2, 4), "b": (1,)})


def test_vocabulary_expands_to_the_whole_tokenizer() -> None:
    rows = torch.arange(4.0).view(-1, 1).repeat(1, DEMONSTRATION.context_width)
    vocabulary = torch.tensor([UNKNOWN, 320, BOS, EOS])
    state = {"clip_l." + checkpoint.EMBEDDING: rows, "clip_l." + checkpoint.VOCABULARY: vocabulary}
    expanded = checkpoint.expand_vocabulary(state, "clip_l.")
    table = expanded["clip_l." + checkpoint.EMBEDDING][:, 0]
    assert table.shape == (49408,)
    assert table[[0, 320, BOS, EOS]].tolist() == [0, 1, 2, 3]
    assert "clip_l.vocabulary" in state, "the caller's own dictionary is left alone"
    assert checkpoint.expand_vocabulary(expanded, "clip_l.") == expanded
    for bad in ([320, 321, BOS, EOS], [UNKNOWN, 320, BOS, 49408], [UNKNOWN, UNKNOWN, BOS, EOS]):
        with pytest.raises(ProductBackgroundError, match="Bad vocabulary"):
            checkpoint.expand_vocabulary(state | {"clip_l." + checkpoint.VOCABULARY: torch.tensor(bad)}, "clip_l.")


def test_newer_checkpoint_is_refused() -> None:
    tensors = checkpoint.Extras(torch.zeros(16)).tensors()
    checkpoint.read_extras(tensors)
    with pytest.raises(ProductBackgroundError, match="newer release"):
        checkpoint.read_extras(tensors | {checkpoint.VERSION_KEY: torch.tensor(2)})


@pytest.fixture(scope="module")
def random_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from training.make_random_base import make_random_base

    return make_random_base(tmp_path_factory.mktemp("base") / "random.safetensors")


def test_exported_base_is_small_and_opens_again(random_base: Path, tmp_path: Path) -> None:
    from training.export import load_base, save_base

    assert random_base.stat().st_size < 45_000_000
    base, header = load_base(random_base)
    assert header.kind == "base" and header.base == "product-background-demo"
    assert BaseConfig.from_dict(header.config) == DEMONSTRATION
    assert math.fsum(base.parameter_counts().values()) < 22e6
    again = save_base(tmp_path / "again.safetensors", base, header.training)
    first, second = load_file(random_base), load_file(again)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_vocabulary_rows() -> None:
    from training.text import Vocabulary

    vocabulary = Vocabulary.from_captions(["a photo of sauce", "a photo of perfume"])
    rows = vocabulary.encode(["a photo of sauce", "", "a photo of zebra"])
    assert rows.shape == (3, 77) and len(vocabulary) == 5 + 3
    assert rows[:, 0].tolist() == [vocabulary.bos] * 3
    assert rows[1, 1:].unique().tolist() == [vocabulary.eos]
    assert rows[2, 4] == vocabulary.unknown
    torch.manual_seed(0)
    dropped = vocabulary.drop_words(rows, 1.0)
    assert dropped[0, 1:5].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(dropped[:, 5:], rows[:, 5:])
    torch.testing.assert_close(vocabulary.drop_words(rows, 0.0), rows)
    with pytest.raises(ProductBackgroundError, match="Caption too long"):
        vocabulary.encode(["sauce " * 76])
