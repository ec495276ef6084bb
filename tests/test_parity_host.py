"""The demonstration base inside ComfyUI's own code: the same weights must give the same numbers as in training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bg_core import checkpoint
from bg_core.base import DEMONSTRATION, add_noise, alphas_cumprod, inpainting_input, sigmas, velocity


def _positive(clip: Any, text: str) -> list[Any]:
    return clip.encode_from_tokens_scheduled(clip.tokenize(text))


def test_stock_loader_finds_our_class_and_nothing_is_missing(
    family: ModuleType, loaded: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    import comfy.sd

    caplog.clear()
    comfy.sd.load_checkpoint_guess_config(str(loaded.path), output_vae=True, output_clip=True)
    assert [r.message for r in caplog.records if "issing" in r.message or "unexpected" in r.message] == []
    config = loaded.model.model.model_config
    assert isinstance(config, family.DemonstrationBase)
    assert loaded.model.model.model_type.name == "V_PREDICTION"
    assert loaded.vae.latent_channels == loaded.model.model.latent_format.latent_channels == 16


def test_registration_is_idempotent(family: ModuleType) -> None:
    import comfy.supported_models
    import folder_paths

    family.register_demonstration_base()
    family.register_demonstration_base()
    assert comfy.supported_models.models.count(family.DemonstrationBase) == 1
    assert folder_paths.get_folder_paths("checkpoints").count(str(family.CHECKPOINTS)) == 1


def test_families_do_not_mistake_each_other(family: ModuleType, loaded: SimpleNamespace) -> None:
    import comfy.model_detection
    import comfy.supported_models

    state = load_file(loaded.path)
    ours = comfy.model_detection.detect_unet_config(state, checkpoint.UNET_PREFIX)
    matching = [m for m in comfy.supported_models.models if m.matches(ours, state)]
    assert matching == [family.DemonstrationBase]
    for in_channels in (4, 9):  # SD 1.5 and SD 1.5 inpainting
        sd15 = ours | {"context_dim": 768, "model_channels": 320, "in_channels": in_channels, "out_channels": 4}
        assert not family.DemonstrationBase.matches(sd15)
        assert comfy.model_detection.model_config_from_unet_config(sd15).__class__ is comfy.supported_models.SD15
    nine = ours | {"in_channels": 9, "out_channels": 4}
    assert not family.DemonstrationBase.matches(nine)


def test_schedule_is_the_hosts(loaded: SimpleNamespace) -> None:
    host = loaded.model.model.model_sampling.sigmas
    torch.testing.assert_close(sigmas().float(), host, atol=0, rtol=1e-6)
    assert float(loaded.model.model.model_sampling.timestep(host[123:124])) == 123


def test_velocity_is_the_hosts_v(loaded: SimpleNamespace) -> None:
    torch.manual_seed(1)
    x, noise = torch.randn(3, 16, 4, 4), torch.randn(3, 16, 4, 4)
    t = torch.tensor([10, 500, 990])
    a, sigma = alphas_cumprod()[t], sigmas()[t].float()
    sampling = loaded.model.model.model_sampling
    scaled = add_noise(x, noise, a) * (1 + sigma.view(-1, 1, 1, 1) ** 2).sqrt()  # the host's variance-exploding x
    torch.testing.assert_close(sampling.calculate_input(sigma, scaled), add_noise(x, noise, a), atol=1e-5, rtol=1e-5)
    denoised = torch.cat(
        [
            sampling.calculate_denoised(sigma[i : i + 1], velocity(x, noise, a)[i : i + 1], scaled[i : i + 1])
            for i in range(3)
        ]
    )
    torch.testing.assert_close(denoised, x, atol=1e-3, rtol=1e-3)


def test_names_agree_with_the_hosts_own_map(loaded: SimpleNamespace) -> None:
    """The host's map is what LoRA files in diffusers' names go through."""
    import comfy.utils

    from training.export import unet_names

    host = comfy.utils.unet_to_diffusers(loaded.model.model.model_config.unet_config)
    assert {diffusers: host.get(diffusers) for _, diffusers in unet_names()} == {d: ldm for ldm, d in unet_names()}


@pytest.mark.parametrize("size", [(16, 16), (24, 24), (13, 19)])
def test_unet_gives_the_same_prediction(loaded: SimpleNamespace, size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    x = torch.randn(2, 33, *size)
    x[:, 16] = (x[:, 16] > 0).float()
    context, t = torch.randn(2, 77, 128), torch.tensor([7.0, 999.0])
    network = loaded.model.model.diffusion_model.float()
    with torch.no_grad():
        ours = loaded.base.unet(x, t, encoder_hidden_states=context).sample
        host = network(x, t, context=context)
    assert ours.std() > 1e-3
    torch.testing.assert_close(host, ours, atol=1e-4, rtol=1e-4)


def test_hosts_whole_path_gives_the_same_prediction(loaded: SimpleNamespace) -> None:
    """Through `apply_model` with the concatenation the host itself builds from an inpainting conditioning."""
    torch.manual_seed(3)
    model = loaded.model.model
    x0, noise, masked = torch.randn(1, 16, 24, 24), torch.randn(1, 16, 24, 24), torch.randn(1, 16, 24, 24)
    mask = (torch.rand(1, 1, 24, 24) > 0.5).float()
    context = torch.randn(1, 77, 128)
    conditioning = model.extra_conds(
        noise=noise, device="cpu", concat_mask=mask, concat_latent_image=masked, cross_attn=context
    )
    t = torch.tensor([600])
    sigma = sigmas()[t].float()
    a = alphas_cumprod()[t]
    noisy = add_noise(x0, noise, a)
    with torch.no_grad():
        host = model.apply_model(
            noisy * (1 + sigma**2).sqrt().view(-1, 1, 1, 1),
            sigma,
            c_concat=conditioning["c_concat"].cond,
            c_crossattn=context,
            transformer_options={},
        )
        v = loaded.base.unet(inpainting_input(noisy, mask, masked), t, encoder_hidden_states=context).sample
    a = a.float().view(-1, 1, 1, 1)
    torch.testing.assert_close(host, a.sqrt() * noisy - (1 - a).sqrt() * v, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a photo of perfume, in the background of marble and petals",
        "A photo of SAUCE,in   the background of a zebra crossing; wooden board!",
        "an entirely unheard-of sentence: naïve quokkas 42",
    ],
)
def test_text_is_tokenized_and_encoded_as_in_training(loaded: SimpleNamespace, caption: str) -> None:
    vocabulary = loaded.base.vocabulary
    rows = vocabulary.encode([caption])
    host_ids = [token for token, _ in loaded.clip.tokenize(caption)["l"][0]]
    known = set(vocabulary.host_ids)
    expected = [vocabulary.host_ids.index(i) if i in known else vocabulary.unknown for i in host_ids]
    assert rows[0].tolist() == expected

    text = loaded.base.text
    rounded = type(text)(text.config)
    # the host keeps the text encoder in half precision
    rounded.load_state_dict({k: v.half().float() for k, v in text.state_dict().items()})
    with torch.no_grad():
        ours = rounded.eval()(rows).last_hidden_state
    host = _positive(loaded.clip, caption)[0][0]
    torch.testing.assert_close(host, ours, atol=1e-3, rtol=1e-3)


def test_autoencoder_is_the_hosts(loaded: SimpleNamespace) -> None:
    torch.manual_seed(4)
    images = torch.rand(2, 3, 72, 104)
    coder = loaded.base.autoencoder
    with torch.no_grad():
        latents = coder.encode(images)
        torch.manual_seed(5)
        z = torch.randn_like(latents) * 3
        decoded = coder.decode(z)
        host_decoded = loaded.vae.first_stage_model.decode(z) * 0.5 + 0.5  # before its clamp, which hides differences
    assert latents.std() > 1e-2 and decoded.std() > 1e-2
    torch.testing.assert_close(loaded.vae.encode(images.movedim(1, -1)), latents, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(host_decoded, decoded, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(loaded.vae.decode(z).movedim(-1, 1), decoded.clamp(0, 1), atol=1e-5, rtol=1e-4)


def test_blank_picture_is_mid_grey(loaded: SimpleNamespace) -> None:
    with torch.no_grad():
        grey = loaded.base.autoencoder.encode(torch.full((1, 3, 256, 256), 0.5))
    blank = loaded.model.model.blank_inpaint_image_like(torch.empty(2, 16, 9, 11))
    assert blank.shape == (2, 16, 9, 11)
    torch.testing.assert_close(blank[1, :, 4, 4], grey[0, :, 16, 16], atol=1e-5, rtol=1e-4)
    blank.zero_()
    assert loaded.model.model.blank_latent.abs().sum() > 0, "callers own what they get"


@pytest.mark.parametrize("inpainting", [True, False])
def test_stock_sampler_runs_from_full_noise(loaded: SimpleNamespace, inpainting: bool) -> None:
    import comfy.sample

    positive, negative = _positive(loaded.clip, "a photo of perfume"), _positive(loaded.clip, "")
    latent = torch.zeros(1, 16, 16, 24)
    mask = None
    if inpainting:
        mask = torch.ones(1, 1, 128, 192)
        mask[..., 64:] = 0
        for conditioning in (positive, negative):
            conditioning[0][1].update(concat_latent_image=torch.randn(1, 16, 16, 24), concat_mask=mask)
    noise = comfy.sample.prepare_noise(latent, seed=0)
    for scheduler in ("sgm_uniform", "simple"):
        result = comfy.sample.sample(
            loaded.model, noise, 3, 3.0, "euler", scheduler, positive, negative, latent, noise_mask=mask, seed=0
        )
        assert result.shape == latent.shape
        assert bool(torch.isfinite(result).all())
        assert float(result.abs().max()) < 100
        if inpainting:
            torch.testing.assert_close(result[..., 12:], latent[..., 12:], atol=1e-5, rtol=0)


def _resave(path: Path, out: Path, change: Callable[[dict[str, Tensor]], None]) -> str:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, out)
    return str(out)


def test_checkpoint_saved_again_by_the_host_still_loads(loaded: SimpleNamespace, tmp_path: Path) -> None:
    import comfy.sd

    path = tmp_path / "again.safetensors"
    comfy.sd.save_checkpoint(str(path), loaded.model, loaded.clip, loaded.vae)
    model, clip, _, _ = comfy.sd.load_checkpoint_guess_config(str(path), output_vae=True, output_clip=True)
    torch.testing.assert_close(model.model.blank_latent, loaded.model.model.blank_latent)
    text = "a photo of perfume and unknown quokkas"
    torch.testing.assert_close(_positive(clip, text)[0][0], _positive(loaded.clip, text)[0][0])


def test_newer_checkpoint_is_refused_by_name(loaded: SimpleNamespace, tmp_path: Path) -> None:
    import comfy.sd

    def newer(tensors: dict[str, Tensor]) -> None:
        tensors[checkpoint.UNET_PREFIX + checkpoint.VERSION_KEY] = torch.tensor(99)

    path = _resave(loaded.path, tmp_path / "newer.safetensors", newer)
    with pytest.raises(ValueError, match="newer release"):
        comfy.sd.load_checkpoint_guess_config(path)


def test_preview_colours_reach_the_host(loaded: SimpleNamespace, tmp_path: Path) -> None:
    import comfy.sd

    colours = torch.rand(DEMONSTRATION.latent_channels + 1, 3)

    def colour(tensors: dict[str, Tensor]) -> None:
        tensors[checkpoint.UNET_PREFIX + checkpoint.COLOURS_KEY] = colours

    path = _resave(loaded.path, tmp_path / "colours.safetensors", colour)
    model = comfy.sd.load_checkpoint_guess_config(path)[0]
    torch.testing.assert_close(torch.tensor(model.model.latent_format.latent_rgb_factors), colours[:-1])
    assert loaded.model.model.latent_format.latent_rgb_factors is None


def test_everything_bundled_predicts_in_the_host_what_was_measured(family: ModuleType, stock: ModuleType) -> None:
    """Identifier, LoRA, mask and inpainting conditioning together, through stock loaders and our nodes."""
    from tests.drills.parity import parity
    from training.export_run import BUNDLED
    from training.lora import lora_beside
    from training.suites.category import WEIGHTS

    lora = lora_beside(WEIGHTS, "product_background_demo_categories_lora.safetensors")
    figures = parity(stock, ["beer", "camera"], BUNDLED, WEIGHTS, lora)
    assert figures["parity_max_abs"] <= 1e-4
    assert figures["parity_guidance"] > 0.05, "the mask does nothing here"
