"""Trainers: the state they resume, the autoencoder's exact encoder, and a few real steps."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bg_core.autoencoder import Autoencoder, narrowed, widened
from bg_core.errors import ProductBackgroundError
from training import train_base, train_vae
from training.export import load_base, new_base, save_base
from training.export_run import export_run
from training.linear_pair import fit_pair, write
from training.muon import NEWTON_SCHULZ, Muon, orthogonalised
from training.pca import fit
from training.stamps import sha256
from training.text import Vocabulary


def some_pictures() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((6, 3, 12, 12), generator=generator)
    return (torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bicubic").clamp(0, 1) * 255).byte()


def test_pca_is_optimal():
    images = torch.randint(0, 256, (6, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[:, :, ::2] = images[:, :, 1::2]  # some structure
    projection = fit(images, 16, patches=4000)
    pictures = images.float() / 255
    latents = projection.encode(pictures)
    error = ((projection.decode(latents) - pictures) ** 2).mean()
    for _ in range(3):
        shifted = projection.decode(latents + 0.05 * torch.randn(latents.shape))
        assert ((shifted - pictures) ** 2).mean() > error
    assert latents.var((0, 2, 3)).mean() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("shape", [(32, 288), (24, 48), (60, 24)])
def test_muon_steps_by_an_orthogonal_matrix(shape: tuple[int, int]):
    """The iterations, gathered into one product, are the ones applied to the matrix one after the other."""
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    a, b, c = NEWTON_SCHULZ
    expected = matrix.double() / matrix.norm()
    for _ in range(5):
        left = expected @ expected.T
        expected = a * expected + (b * left + c * left @ left) @ expected
    assert (orthogonalised(matrix) - expected).abs().max() < 1e-5
    singular = torch.linalg.svdvals(orthogonalised(matrix))
    assert singular.min() > 0.6 and singular.max() < 1.3
    weight = torch.nn.Parameter(torch.zeros(shape))
    weight.grad = matrix
    Muon([weight], lr=0.1).step()
    assert float((weight**2).mean() ** 0.5) == pytest.approx(0.1 * 0.2, rel=0.25)


def test_the_network_starts_as_the_linear_pair_inside_the_picture():
    images = some_pictures()
    widths = (8, 16, 32, 32)
    pair = fit_pair(images, fit(images, 16, patches=4000), widths, steps=30, rate=4e-3, seed=1).requires_grad_(False)
    model = Autoencoder(widths=widths).requires_grad_(False)
    write(pair, model)
    pictures = images.float() / 255
    latents = pair.encode(pictures)
    correlation = torch.corrcoef(latents.transpose(0, 1).flatten(1))
    assert (correlation - torch.eye(16)).abs().max() < 0.02
    inside = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(model.encode(pictures)[inside], latents[inside], atol=1e-4, rtol=1e-3)
    pixels = (..., slice(24, -24), slice(24, -24))
    small = latents * 0.01  # the clamp is the identity there
    torch.testing.assert_close(model.decode(small)[pixels], pair.decode(small)[pixels], atol=1e-4, rtol=1e-3)


def test_a_widened_autoencoder_is_the_same_function():
    torch.manual_seed(0)
    narrow = Autoencoder(widths=(4, 8, 16, 32)).requires_grad_(False)
    wide = widened(narrow)
    assert wide.taesd_decoder[-1].weight.shape == (3, 64, 3, 3)
    pictures = torch.rand(2, 3, 32, 40)
    latents = narrow.encode(pictures)
    torch.testing.assert_close(wide.encode(pictures), latents)
    torch.testing.assert_close(wide.decode(latents), narrow.decode(latents))
    again = narrowed(wide)
    for ours, theirs in zip(again.parameters(), narrow.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def toml(path: Path, steps: int, options: str) -> Path:
    path.write_text(
        f"seed = 1\nsteps = {steps}\nbatch = 2\nlearning_rate = 1e-3\nwarmup = 2\nema = 0.9\n"
        f"minutes_between_saves = 1000\n[options]\n{options}"
    )
    return path


VAE = (
    "parts = 2\ncrop = 32\nwidths = [4, 8, 16, 16]\nlinear_steps = 3\nlinear_rate = 1e-3\nlatent_noise = 0.03\n"
    "floor = 2e-5\nsharpness = 0.05\nspread = 0.1\n"
)
BASE = (
    "parts = 2\nsmall = 32\nsmall_views = 2\nlarge = 64\nlarge_views = 1\nlarge_share = 0.5\n"
    "drop_caption = 0.1\ndrop_words = 0.03\nproduct_weight = 0.3\n"
    "rim = 1\nrim_weight = 2.0\nsnr_gamma = 5.0\nweight_floor = 0.2\n"
)


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = toml(tmp_path / "vae.toml", 4, VAE)
    arguments = ["--data", str(data), "--config", str(config)]
    train_vae.main([*arguments, "--out", str(tmp_path / "whole")])

    class Killed(Exception):
        pass

    honest = train_vae.crops
    calls = iter(range(100))

    def killed(*values):
        if next(calls) == 2:
            raise Killed
        return honest(*values)

    # the first half runs under the same schedule, saves at every step, and is killed before its third
    monkeypatch.setattr(train_vae, "crops", killed)
    eager = tmp_path / "eager.toml"
    eager.write_text(config.read_text().replace("= 1000", "= 0.0"))
    with pytest.raises(Killed):
        train_vae.main(["--data", str(data), "--config", str(eager), "--out", str(tmp_path / "parts")])
    monkeypatch.setattr(train_vae, "crops", honest)
    train_vae.main([*arguments, "--out", str(tmp_path / "parts")])

    whole, parts = (load_file(tmp_path / run / "latest.safetensors") for run in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        # threads sum in any order; a lost optimiser state or generator would show at the learning rate, 1e-3
        assert torch.allclose(value, parts[key], atol=1e-5), key


def test_vae_then_base_then_one_checkpoint(data: Path, tmp_path: Path):
    vae, base = tmp_path / "vae", tmp_path / "base"
    train_vae.main(["--data", str(data), "--out", str(vae), "--config", str(toml(tmp_path / "v.toml", 2, VAE))])
    train_base.main(
        [
            "--data",
            str(data),
            "--autoencoder",
            str(vae),
            "--out",
            str(base),
            "--config",
            str(toml(tmp_path / "b.toml", 2, BASE)),
        ]
    )
    target = export_run(base, vae, data, tmp_path / "base.safetensors")
    loaded, header = load_base(target)
    assert header.training["steps"] == 2 and header.training["pictures"] == 38
    trained = load_file(base / "latest.safetensors")["average.unet.conv_in.weight"]
    assert torch.allclose(loaded.unet.conv_in.weight, trained, atol=1e-3)
    assert target.stat().st_size < 45e6

    # trained further from there, at a rate too low to change anything
    still = toml(tmp_path / "s.toml", 1, BASE)
    still.write_text(still.read_text().replace("1e-3", "1e-9"))
    further = tmp_path / "further"
    paths = ["--data", str(data), "--autoencoder", str(target), "--start", str(target), "--out", str(further)]
    train_base.main([*paths, "--config", str(still)])
    continued = load_file(further / "latest.safetensors")["average.unet.conv_in.weight"]
    assert torch.allclose(loaded.unet.conv_in.weight, continued, atol=1e-6)
    again = export_run(further, target, data, tmp_path / "again.safetensors")
    assert load_base(again)[1].training["settings"]["options"]["start_sha256"] == sha256(target)


def test_a_base_of_other_words_is_not_trained_further(tmp_path: Path):
    other = Vocabulary.from_captions(["a bottle on oak"])
    start = save_base(tmp_path / "other.safetensors", new_base(other), {})
    with pytest.raises(ProductBackgroundError, match=f"{len(other)} rows"):
        train_base.begun(start, train_base.vocabulary())


def test_errors_weigh_more_around_the_product_and_less_on_it():
    mask = torch.ones(1, 1, 7, 7)
    mask[..., 3, 3] = 0
    weight = train_base.regions(mask, product_weight=0.3, rim=1, rim_weight=2.0)[0, 0]
    assert weight[3, 3] == pytest.approx(0.3)
    around = [weight[y, x] for y in (2, 3, 4) for x in (2, 3, 4) if (y, x) != (3, 3)]
    assert all(value == 2 for value in around)
    assert weight.sum() == pytest.approx(0.3 + 8 * 2 + 40)
