"""Models that categories are taught to: diffusers' folders, files, and what ComfyUI makes of what was taught."""

from __future__ import annotations

import copy
import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bg_core import checkpoint
from bg_core.base import BASE_NAME
from bg_core.errors import ProductBackgroundError
from bg_core.vocabulary import CategoryVocabulary
from training import painters, train_category
from training.diffusion import Diffusion
from training.export import unet_names
from training.lora import add_lora
from training.painters import SD15, SD15_SHAPE, SD15_TEXT, load_painter, sd15_unet, stable_diffusion

FULL_SIZE = "PRODUCT_BACKGROUND_FULL_SIZE"
TOLERANCE = 1e-4


def config(path: Path, side: int, batch: int) -> Path:
    path.write_text(
        f"seed = 1\nsteps = 2\nbatch = {batch}\nlearning_rate = 0.1\nwarmup = 1\nema = 0.5\n"
        f'minutes_between_saves = 1000\n[options]\narm = "masked_lora"\nside = {side}\nviews = 1\nrank = 2\n'
    )
    return path


def test_the_schedule_of_stable_diffusion() -> None:
    plain, zero = stable_diffusion(), stable_diffusion("v", zero_terminal=True)
    assert float(plain.alpha_bars[-1]) == pytest.approx(0.0047, abs=1e-4)  # Stable Diffusion's known last alpha-bar
    assert float(zero.alpha_bars[-1]) < 1e-6 and zero.prediction == "v"
    latents, noise, t = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3), torch.tensor([10, 900])
    assert plain.target(latents, noise, t) is noise
    # one schedule: the same error counts alpha-bar times as much where the velocity is predicted
    velocity = Diffusion(plain.alpha_bars, "v")
    torch.testing.assert_close(velocity.weight(t, 5.0, 0.0), plain.weight(t, 5.0, 0.0) * plain.alpha_bar(t))


def test_a_folder_as_diffusers_saves_it_is_taught(data: Path, tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    model = tmp_path / "model"
    UNet2DConditionModel(
        in_channels=4, out_channels=4, block_out_channels=(32, 32), layers_per_block=1, cross_attention_dim=32,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2,
    ).save_pretrained(model / "unet")  # fmt: skip
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    CLIPTextModel(CLIPTextConfig(**{**SD15_TEXT, **text})).save_pretrained(model / "text_encoder")
    AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4,
    ).save_pretrained(model / "vae")  # fmt: skip
    with pytest.raises(ProductBackgroundError, match="scheduler missing"):
        load_painter(model)
    DDPMScheduler(prediction_type="v_prediction", rescale_betas_zero_snr=True).save_pretrained(model / "scheduler")
    painter = load_painter(model)
    assert (painter.family, painter.inpaints, painter.diffusion.prediction) == (SD15, False, "v")
    out = tmp_path / "run"
    path = config(tmp_path / "run.toml", 32, 2)
    train_category.main(["--base", str(model), "--data", str(data), "--out", str(out), "--config", str(path)])
    vocabulary = CategoryVocabulary.open(out / "identifiers.safetensors")
    assert (vocabulary.base, vocabulary.width) == (SD15, 32)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProductBackgroundError, match="No model at"):
        load_painter(tmp_path / "nothing.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ProductBackgroundError, match=r"no whole checkpoint of Stable Diffusion 1\.5"):
        load_painter(tmp_path / "other.safetensors")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stable Diffusion 1.5 with narrow layers, as deep as it is."""
    shape = dataclasses.replace(SD15_SHAPE, channels=(32, 64, 64, 64), res_blocks=1, head_channels=4, context_width=32)
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    monkeypatch.setattr(painters, "SD15_SHAPE", shape)
    monkeypatch.setattr(painters, "SD15_TEXT", SD15_TEXT | text | {"vocab_size": 100})
    monkeypatch.setattr(painters, "SD15_CODER", painters.SD15_CODER | {"block_out_channels": (32, 64, 64, 64)})


@pytest.mark.parametrize("channels", [4, 9])
@pytest.mark.parametrize("velocity", [False, True], ids=["epsilon", "v"])
def test_a_single_file_is_the_model_that_was_saved(
    comfyui: Path, small: None, channels: int, velocity: bool, tmp_path: Path
) -> None:
    painter = load_painter(random_checkpoint(tmp_path / "sd15.safetensors", channels, velocity))
    assert painter.family == SD15 and painter.inpaints == (channels == 9) and painter.vocabulary is None
    diffusion = painter.diffusion
    assert diffusion.prediction == ("v" if velocity else "epsilon")
    assert (float(diffusion.alpha_bars[-1]) < 1e-6) == velocity  # v-prediction comes with zero terminal SNR
    parts = random_parts(channels)
    for part in vars(parts).values():  # as the file holds them
        part.half().float().eval()
    x, t, context = torch.randn(1, channels, 8, 8), torch.tensor([300]), torch.randn(1, 77, 32)
    ids = torch.randint(100, (1, 77))
    picture, latents = torch.rand(1, 3, 64, 64), torch.randn(1, 4, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(painter.unet(x, t, context).sample, parts.unet(x, t, context).sample)
        torch.testing.assert_close(painter.text(ids).last_hidden_state, parts.text(ids).last_hidden_state)
        moments = parts.coder.quant_conv(parts.coder.encoder(picture * 2 - 1))
        encoded = painter.coder.encode(picture)
        torch.testing.assert_close(encoded, moments[:, :4] * 0.18215, atol=1e-4, rtol=1e-4)
        decoded = parts.coder.decoder(parts.coder.post_quant_conv(latents / 0.18215)) / 2 + 0.5
        torch.testing.assert_close(painter.coder.decode(latents), decoded, atol=1e-4, rtol=1e-4)
    assert float(encoded.std()) > 1e-3
    assert not any(p.requires_grad for p in painter.unet.parameters())


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        (f"{checkpoint.UNET_PREFIX}middle_block.1.", "of its tensors are missing"),
        (checkpoint.TEXT_PREFIX, "its text encoder is missing or another one"),
        (checkpoint.AUTOENCODER_PREFIX, "its VAE is missing"),
    ],
)
def test_a_single_file_that_lacks_a_part_is_refused(
    comfyui: Path, small: None, prefix: str, said: str, tmp_path: Path
) -> None:
    path = random_checkpoint(tmp_path / "sd15.safetensors")
    save_file({key: value for key, value in load_file(path).items() if not key.startswith(prefix)}, path)
    with pytest.raises(ProductBackgroundError, match=rf"no whole checkpoint.*{said}"):
        load_painter(path)


def test_comfyuis_stock_loader_reads_the_lora(loaded: SimpleNamespace, tmp_path: Path) -> None:
    """Every tensor finds its layer, and the network then predicts what ours does."""
    import comfy.model_management
    import comfy.sd
    import comfy.utils

    comfy.model_management.unload_all_models()  # takes off what other tests left patched
    unet = copy.deepcopy(loaded.base.unet).requires_grad_(False)
    lora = add_lora(unet, 4, 2.0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for up in lora.up:
            up.copy_(torch.randn(up.shape, generator=generator) * 0.2)
    path = lora.save(tmp_path / "lora.safetensors", BASE_NAME, {})
    patched, _ = comfy.sd.load_lora_for_models(loaded.model, None, comfy.utils.load_torch_file(str(path)), 1.0, 0.0)
    assert len(patched.patches) == len(lora.names)
    x, t, context = torch.randn(1, 33, 8, 8), torch.tensor([300.0]), torch.randn(1, 77, 128)
    patched.patch_model()
    try:
        with torch.no_grad():
            host = patched.model.diffusion_model.float()(x, t, context=context)
    finally:
        patched.unpatch_model()
    with torch.no_grad():
        ours = unet(x, t, context).sample
        stock = loaded.base.unet(x, t, context).sample
    torch.testing.assert_close(host, ours, atol=TOLERANCE, rtol=TOLERANCE)
    assert float((ours - stock).abs().max()) > 10 * TOLERANCE


@pytest.mark.skipif(FULL_SIZE not in os.environ, reason=f"8 GB of memory and minutes: set {FULL_SIZE}=1")
@pytest.mark.timeout(3600)
def test_stable_diffusion_at_full_size_with_random_weights(
    comfyui: Path, family: Any, data: Path, tmp_path: Path
) -> None:
    """Two steps, saved, loaded through ComfyUI's stock loaders, run."""
    import comfy.sd
    import comfy.utils
    from product_background.nodes.attention import MaskGuidedAttention
    from product_background.nodes.category import CategoryConditioning

    base = random_checkpoint(tmp_path / "sd15.safetensors")
    out = tmp_path / "run"
    path = config(tmp_path / "run.toml", 64, 1)
    train_category.main(["--base", str(base), "--data", str(data), "--out", str(out), "--config", str(path)])
    vocabulary = CategoryVocabulary.open(out / "identifiers.safetensors")
    assert (vocabulary.base, vocabulary.width) == (SD15, 768)

    model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(str(base), output_vae=True, output_clip=True)
    file = comfy.utils.load_torch_file(str(out / "run_lora.safetensors"))
    model, _ = comfy.sd.load_lora_for_models(model, None, file, 1.0, 0.0)
    assert len(model.patches) == 4 * 16  # projections of every cross-attention layer
    text = "a photo of {category}, in the background of {identifier}"
    positive = CategoryConditioning.execute(clip, vocabulary, "mug", text, 1.0, False).args[0]
    negative = clip.encode_from_tokens_scheduled(clip.tokenize(""))
    mask = torch.ones(1, 64, 64)
    mask[:, 16:48, 16:48] = 0
    guided = MaskGuidedAttention.execute(model, mask, 1.0, 0.0, 1.0, 0, 0).args[0]

    from tests.host import attention_lab as lab

    latents, unguided = (lab.sample(some, positive, negative, (8, 8), steps=2) for some in (guided, model))
    weaker = CategoryConditioning.execute(clip, vocabulary, "mug", text, 0.5, False).args[0]
    assert bool(latents.isfinite().all()) and vae.decode(latents).shape == (1, 64, 64, 3)
    assert float((latents - unguided).abs().max()) > 1e-3, "the mask does something"
    assert float((latents - lab.sample(guided, weaker, negative, (8, 8), steps=2)).abs().max()) > 1e-3


def random_checkpoint(path: Path, channels: int = 4, velocity: bool = False) -> Path:
    """Stable Diffusion 1.5 as one file, random; in the shapes that `painters` has."""
    parts = random_parts(channels)
    unet, text, coder = (part.half().state_dict() for part in vars(parts).values())
    file = {checkpoint.UNET_PREFIX + ldm: unet[name] for ldm, name in unet_names(painters.SD15_SHAPE)}
    file |= {f"{checkpoint.TEXT_PREFIX}transformer.{key}": value for key, value in text.items()}
    file |= {checkpoint.AUTOENCODER_PREFIX + key: value for key, value in coder.items()}
    marks = ("v_pred", "ztsnr") if velocity else ()
    file |= {mark: torch.zeros(0) for mark in marks}
    save_file({key: value.contiguous() for key, value in file.items()}, path)
    return path


def random_parts(channels: int) -> SimpleNamespace:
    """diffusers' UNet, transformers' text encoder and the host's own autoencoder, which has the file's names."""
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(**sd15_unet(channels))
    text = CLIPTextModel(CLIPTextConfig(**painters.SD15_TEXT))
    widths = painters.SD15_CODER["block_out_channels"]
    shape = {
        "double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": widths[0],
        "ch_mult": [width // widths[0] for width in widths], "num_res_blocks": 2, "attn_resolutions": [],
        "dropout": 0.0,
    }  # fmt: skip
    coder = AutoencoderKL(ddconfig=shape, embed_dim=4)
    for parameter in coder.parameters():  # ComfyUI's layers are made without values
        torch.nn.init.normal_(parameter, std=0.02) if parameter.ndim > 1 else torch.nn.init.ones_(parameter)
    return SimpleNamespace(unet=unet, text=text, coder=coder)
