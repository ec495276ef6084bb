"""How far ComfyUI's prediction lies from the trainers', with everything that is bundled at once.

    python -m tests.drills.parity [--record FILE]

The bundled base, identifiers and LoRA through stock loaders and nodes, an inpainting conditioning, Category
Conditioning and Mask-Guided Attention, as the graphs have them; against the painter that `training.evaluate` measures.
`parity_max_abs`: the largest difference of the predicted velocity (of deviation 1), over both sides of guidance, four
noise levels and several categories around strange products. FILE gets it as JSON.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import tests.conftest  # makes the pack's modules known under the name they have in ComfyUI
from scripts.comfyui import comfyui_path

from .servers import record

TIMES = (60, 400, 800, 999)
SIDE = 192
TEXT = "a photo of {category}, in the background of {identifier}"


def scene(seed: int) -> tuple[Tensor, Tensor]:
    """A picture uint8 [1,3,S,S] and a product's soft mask uint8 [1,1,S,S], both smooth noise."""
    generator = torch.Generator().manual_seed(seed)

    def smooth(channels: int) -> Tensor:
        small = torch.rand(1, channels, 6, 6, generator=generator)
        return torch.nn.functional.interpolate(small, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1)

    return (smooth(3) * 255).byte(), (((smooth(1) - 0.5) * 6 + 0.5).clamp(0, 1) * 255).byte()


@torch.no_grad()
def parity(stock: Any, categories: list[str], bundled: Path, identifiers: Path, lora: Path) -> dict[str, float]:
    """`parity_max_abs`, and `parity_guidance`: how much the mask changes, beside which it is to be seen. `stock`:
    ComfyUI's module `nodes`."""
    import comfy.sd
    import comfy.utils
    from product_background.nodes.attention import MaskGuidedAttention
    from product_background.nodes.category import CategoryConditioning
    from product_background.nodes.demonstration_base import register_demonstration_base

    from bg_core.vocabulary import CategoryVocabulary
    from training.category.paint import Subjects, Wish
    from training.painters import load_painter
    from training.suites.category import bundled_brush

    register_demonstration_base()
    model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(str(bundled), output_vae=True, output_clip=True)
    model, _ = comfy.sd.load_lora_for_models(model, None, comfy.utils.load_torch_file(str(lora)), 1.0, 0.0)
    vocabulary, painter = CategoryVocabulary.open(identifiers), load_painter(bundled)
    brush = bundled_brush(painter, identifiers)
    worst, matters = 0.0, 0.0
    for seed, name in enumerate(categories):
        picture, product = scene(seed)
        image, background = picture.float() / 255, 1 - product.float() / 255
        positive = CategoryConditioning.execute(clip, vocabulary, name, TEXT, 1.0, False).args[0]
        negative = clip.encode_from_tokens_scheduled(clip.tokenize(""))
        positive, negative, _ = stock.InpaintModelConditioning().encode(
            positive, negative, image.movedim(1, -1), vae, background[:, 0], noise_mask=True
        )
        subjects = Subjects.of(painter, picture, product)
        generator = torch.Generator().manual_seed(100 + seed)
        clean, noise = (torch.randn(subjects.masked.shape, generator=generator) for _ in range(2))
        noisy = {t: painter.diffusion.noisy(clean, noise, torch.tensor([t])) for t in TIMES}
        ours = _trained(brush, subjects, Wish(vocabulary.category(vocabulary.names().index(name)).words, name), noisy)
        guided = MaskGuidedAttention.execute(model, background[:, 0], 1.0, 0.0, 1.0, 0, 0).args[0]
        theirs, unguided = (_hosts(some, [positive, negative], noisy, painter) for some in (guided, model))
        worst = max(worst, float((theirs - ours).abs().max()))
        matters = max(matters, float((theirs - unguided).abs().max()))
    return {"parity_max_abs": worst, "parity_guidance": matters}


def _trained(brush: Any, subjects: Any, wish: Any, noisy: dict[int, Tensor]) -> Tensor:
    """The velocity [T,2,C,h,w] by the trainers' code, with the text and without."""
    from training.attention import guide_layers
    from training.category.plan import ARMS

    context = brush.context(ARMS["masked"], [wish])
    empty, regions = brush.texts.captions([""]).values, guide_layers(brush.painter.unet)
    masks = torch.cat([subjects.background, torch.ones_like(subjects.background)])
    found = []
    with regions.guiding(masks, [*context.positions, []], subjects.masked.shape[-2:], context.values.shape[1]):
        for t, x in noisy.items():
            inputs = brush.painter.inputs(x, subjects.where, subjects.masked).repeat(2, 1, 1, 1)
            found.append(brush.painter.predict(inputs, torch.tensor([t, t]), torch.cat([context.values, empty])))
    return torch.stack(found)


def _hosts(model: Any, sides: list[Any], noisy: dict[int, Tensor], painter: Any) -> Tensor:
    """The same by ComfyUI's sampling code."""
    import comfy.samplers

    from bg_core.base import sigmas

    found: list[Tensor] = []

    class Guider(comfy.samplers.CFGGuider):
        def predict_noise(self, x: Tensor, timestep: Tensor, model_options: Any = {}, seed: Any = None) -> Tensor:  # noqa: B006
            for t, at in noisy.items() if not found else ():
                sigma, alpha = sigmas()[t].float(), painter.diffusion.alpha_bars[t].float()
                scaled = at * (1 + sigma**2).sqrt()  # the host's variance-exploding x
                conds = [self.conds["positive"], self.conds["negative"]]
                denoised = comfy.samplers.calc_cond_batch(
                    self.inner_model, conds, scaled, sigma.reshape(1), model_options
                )
                found.append(torch.stack([(alpha.sqrt() * at - side) / (1 - alpha).sqrt() for side in denoised])[:, 0])
            return torch.zeros_like(x)

    guider = Guider(model)
    guider.set_conds(*sides)
    latent = torch.zeros_like(next(iter(noisy.values())))
    steps = comfy.samplers.KSampler(model, 1, "cpu", sampler="euler", scheduler="sgm_uniform").sigmas
    guider.sample(torch.randn_like(latent), latent, comfy.samplers.ksampler("euler"), steps, disable_pbar=True, seed=0)
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    sys.path.append(str(comfyui_path()))
    from comfy.cli_args import args

    args.cpu = True
    from training.export_run import BUNDLED
    from training.lora import lora_beside
    from training.suites.category import WEIGHTS

    assert tests.conftest.ROOT in BUNDLED.parents
    stock = tests.conftest.hosts_nodes(comfyui_path())
    lora = lora_beside(WEIGHTS, "product_background_demo_categories_lora.safetensors")
    figures = parity(stock, ["beer", "soap", "camera", "tea"], BUNDLED, WEIGHTS, lora)
    for key, value in figures.items():
        print(f"{key}  {value:.2e}")
    if arguments.record:
        record(arguments.record, figures)


if __name__ == "__main__":
    main()
