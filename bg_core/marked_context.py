"""A context that notices when a node would lose the positions of its identifier.

A CONDITIONING is a context beside a dictionary, and nodes that join two of them keep one dictionary only. The stock
ConditioningConcat appends the second one's tokens and drops what it says of them; ConditioningAverage mixes them in
likewise. An identifier that comes second would then act on the product, and nobody would be told. So the context is a
tensor that refuses just that, by name, at that node. Any other operation gives a plain tensor, as do the sampler's own
first steps: nothing of this reaches a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from .errors import ProductBackgroundError

_CAT = {"cat", "concat", "concatenate"}
_MULTIPLY = {"mul", "multiply", "__mul__", "__rmul__"}
_ADD = {"add", "__add__", "__radd__"}
_SAME = {"to", "clone", "detach", "contiguous", "cpu", "cuda", "float", "half", "bfloat16"}


class MarkedContext(Tensor):
    """A context [1,L,D] with an identifier at `positions`. `scale`: the factor it was multiplied with, or None."""

    positions: tuple[int, ...]
    scale: float | None

    @classmethod
    def mark(cls, context: Tensor, positions: Sequence[int], scale: float | None = None) -> Self:
        """The same values, with the mark."""
        marked = context.as_subclass(cls)
        marked.positions, marked.scale = tuple(positions), scale
        return marked

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        mark = _after(name, args, kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
        if mark is not None and isinstance(result, Tensor):
            return cls.mark(result, *mark)
        return result

    def plain(self) -> Tensor:
        """The same values without the mark."""
        with torch._C.DisableTorchFunctionSubclass():
            return self.as_subclass(Tensor)

    def __deepcopy__(self, memo: Any) -> MarkedContext:
        return self.mark(self.plain().clone(), self.positions, self.scale)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.plain().__reduce_ex__(protocol)


Mark = tuple[tuple[int, ...], float | None]


def _after(name: str, args: Any, kwargs: Any) -> Mark | None:
    """The mark of an operation's result, if it keeps one. Raises where the mark would be lost."""
    if name in _CAT:
        return _after_cat(args[0] if args else kwargs["tensors"], args[1] if len(args) > 1 else kwargs.get("dim", 0))
    if name in _ADD and len(args) == 2:
        return _after_add(*args)
    first = args[0] if args else None
    if name in _MULTIPLY and len(args) == 2:
        context, factor = args if isinstance(first, MarkedContext) else reversed(args)
        return (context.positions, float(factor)) if isinstance(factor, (int, float)) else None
    if not isinstance(first, MarkedContext):
        return None
    if name in _SAME:
        return first.positions, first.scale
    if name == "__getitem__" and _keeps(args[1], first.positions):
        return first.positions, first.scale
    return None


def _after_cat(tensors: Sequence[Tensor], dim: int) -> Mark | None:
    if dim not in (1, -2):
        return None
    if any(isinstance(tensor, MarkedContext) for tensor in tensors[1:]):
        raise ProductBackgroundError(
            "Appended to another text, this conditioning would lose the positions of its identifier, which would then "
            "act on the product (ConditioningConcat keeps those of the first text only). Connect Category Conditioning "
            "as conditioning_to, the first one; join two of them with ConditioningCombine."
        )
    first = tensors[0]
    return (first.positions, first.scale) if isinstance(first, MarkedContext) else None


def _after_add(first: Any, second: Any) -> Mark | None:
    one, other = (tensor if isinstance(tensor, MarkedContext) else None for tensor in (first, second))
    if (
        one is not None
        and other is not None
        and 0.0 not in (one.scale, other.scale)
        and one.positions != other.positions
    ):
        raise ProductBackgroundError(
            "Two identifiers can be averaged only where both stand at the same places of their texts, "
            f"here they are tokens {list(one.positions)} and {list(other.positions)}. Use ConditioningCombine, or "
            "a text with {identifier} before {category} in both."
        )
    if one is None and other is not None and other.scale:
        raise ProductBackgroundError(
            "Mixed into another text, this conditioning would lose the positions of its identifier, which would then "
            "act on the product (ConditioningAverage keeps those of conditioning_to only). Connect Category "
            "Conditioning as conditioning_to."
        )
    kept = one if one is not None else None
    return (kept.positions, None) if kept is not None else None


def _keeps(index: Any, positions: tuple[int, ...]) -> bool:
    """Whether `tensor[index]` is `[:, :n]` with all positions inside."""
    if not (isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None) and isinstance(index[1], slice)):
        return False
    start, stop, step = index[1].start, index[1].stop, index[1].step
    return start in (None, 0) and step in (None, 1) and (stop is None or stop > max(positions, default=-1))
