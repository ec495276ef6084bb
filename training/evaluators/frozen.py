"""Evaluators as files: frozen once, recognised by their metadata, refused when their bytes are not the protocol's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bg_core import weights
from bg_core.errors import ProductBackgroundError

from ..metrics.decisions import extension
from ..protocol import PROTOCOL, read_protocol
from ..stamps import sha256
from .networks import build
from .tasks import TASKS, answers, found, scored, surely
from .views import foot_views, whole_views

KIND = "evaluator"
FOLDER = Path(__file__).parent / "weights"


def freeze(net: nn.Module, file: Path, config: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """Writes a network in half precision; returns the file's SHA-256."""
    tensors = {key: value.half() for key, value in net.state_dict().items()}
    weights.save(file, tensors, kind=KIND, base="", config=config, training=training)
    return sha256(file)


def thaw(file: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a frozen file, in float32, in eval mode, and its configuration."""
    header = weights.read_header(file)
    net = build(header.config)
    expected = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    _, tensors = weights.load_checked(file, KIND, expected=expected)
    net.load_state_dict({key: value.float() for key, value in tensors.items()})
    return net.eval(), header.config


@dataclass(frozen=True)
class Evaluator:
    """One of the two evaluators. Pictures [N,3,H,W] and masks [N,1,H,W] are uint8."""

    name: str
    nets: Mapping[str, nn.Module]
    sides: Mapping[str, int]
    contact_threshold: float
    twin_threshold: float
    keepsakes_threshold: float

    def scene(self, pictures: Tensor, masks: Tensor, others: Tensor) -> dict[str, Tensor]:
        """Logits of each head, `features` [N,D] and `style` [N,64] of backgrounds; `others`: other products' masks."""
        return answers(self.nets["scene"], pictures, masks, others, self.sides["scene"])

    def keepsakes(self, pictures: Tensor, masks: Tensor, others: Tensor) -> Tensor:
        """[N,K] bool, which of the props of category-bound scenes (`examples.KEEPSAKES`) stand in the background."""
        sure = surely(self.nets["keepsakes"], pictures, masks, others, self.sides["keepsakes"])
        return sure > self.keepsakes_threshold

    def contact(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """[N], high where the product stands on its ground."""
        return scored(self.nets["contact"], pictures, masks, foot_views, self.sides["contact"])

    def twin(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """[N], high where a second product stands in the background."""
        return scored(self.nets["twin"], pictures, masks, whole_views, self.sides["twin"])

    def extension(self, pictures: Tensor, masks: Tensor) -> Tensor:
        """[N], the share by which the product outgrew its mask."""
        return extension(*found(self.nets["segment"], pictures, masks, self.sides["segment"]))


def load_evaluators(protocol: Path = PROTOCOL, folder: Path = FOLDER) -> list[Evaluator]:
    """The evaluators that the protocol names, each file's bytes checked against its hash."""
    named = read_protocol(protocol).evaluators
    if not named:
        raise ProductBackgroundError(
            f"{protocol} names no evaluators. Train them with `python -m training.train_evaluators`, then freeze them "
            "with `python -m training.freeze_evaluators`."
        )
    loaded = []
    for evaluator, entries in named.items():
        nets, sides = {}, {}
        for task in TASKS:
            file = folder / entries[task]["file"]
            if not file.is_file() or sha256(file) != entries[task]["sha256"]:
                raise ProductBackgroundError(
                    f"{file} is {'not the file that was frozen' if file.is_file() else 'missing'}: expected SHA-256 "
                    f"{entries[task]['sha256']}. Figures of other evaluators can't be compared."
                )
            nets[task], config = thaw(file)
            sides[task] = config["side"]
        thresholds = (entries[task][f"{task}_threshold"] for task in ("contact", "twin", "keepsakes"))
        loaded.append(Evaluator(evaluator, nets, sides, *thresholds))
    return loaded
