"""How several reasons to show a product become one score, each a named part of it.

Pure. A nearness (a cosine, a logit) and a share of what others took are added as odds, not as
ranks: where ranks are joined, a new product, which stands in one list only, is nowhere
(docs/decisions.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ranking.catalog.learned import Array, Mix
from ranking.question import Candidate

Parts = dict[str, float]
Floats = np.ndarray[Any, np.dtype[Any]]

TINY = 1e-30  # a share whose logarithm can be taken
TEMPERATURE = 0.1  # of the share that texts give: a cosine of .1 more is e times as much


class Reasons(NamedTuple):
    """What speaks for products beside a learned model, arrays [..., products] each: the model's
    `logits` with the products' own `biases` in them (0: no history), the `shares` of what others
    took, the `cosines` of texts (-inf: none). Shares of the model and of texts are of the
    products that are `counted` (a mask): the sum over the others would hardly change them."""

    logits: Array
    biases: Array
    shares: Array
    cosines: Array
    counted: np.ndarray[Any, np.dtype[np.bool_]]


def shared(told: Reasons, mix: Mix, lift: float) -> dict[str, Array]:
    """The named parts of a score from 0 to 1, which is a mean of three shares weighted by `mix`:
    of the model's softmax, of what others took, of texts.

    Nobody can have taken a product that has no history: there the model's share, lifted by `lift`
    logits, stands for that of the others too. `interest` is the model's share without regard to
    histories, `history` what these change of it; it may be below nothing.
    """
    whole = 1.0 + mix.neighbours + mix.text
    interest = softmax(told.logits - told.biases, told.counted)
    says = _model_says(told, lift)
    stands_in = np.where(told.biases == 0, mix.neighbours * says, 0)
    return {
        "interest": interest / whole,
        "history": (says + stands_in - interest) / whole,
        "neighbours": mix.neighbours * _taken(told, says) / whole,
        "text": mix.text * softmax(told.cosines / TEMPERATURE, told.counted) / whole,
    }


def scores(told: Reasons, mix: Mix, lift: float) -> Array:
    """What the parts of `shared` come to."""
    says = _model_says(told, lift)
    taken = np.where(told.biases == 0, np.maximum(says, told.shares), told.shares)
    total = says + np.float32(mix.neighbours) * taken.astype(np.float32)
    if mix.text:
        total += np.float32(mix.text) * softmax(told.cosines / TEMPERATURE, told.counted)
    total /= np.float32(1.0 + mix.neighbours + mix.text)
    return total


def _model_says(told: Reasons, lift: float) -> Array:
    return softmax(told.logits + np.float32(lift) * (told.biases == 0), told.counted)


def _taken(told: Reasons, says: Array) -> Array:
    """What others took; of a product that was new when the model was trained what is more than the
    share that stands for it already."""
    more = np.maximum(told.shares - says, 0)
    return np.where(told.biases == 0, more, told.shares)


def softmax(logits: Array, counted: np.ndarray[Any, Any]) -> Array:
    """exp(logit) over the sum of those that are counted, at most 1; nothing where none is."""
    top = logits.max(axis=-1, keepdims=True, initial=-np.inf)
    odds = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
    total = np.where(counted, odds, 0.0).sum(axis=-1, keepdims=True)
    shares = np.divide(odds, total, out=np.zeros_like(odds), where=total > 0)
    made: Array = np.minimum(shares, 1.0).astype(np.float32)
    return made


def added(nearness: Floats, share: Floats, *, weight: float, temperature: float) -> Floats:
    """What shares (0 to 1) add to cosines, in points of them.

    It is what makes exp(sum / temperature) = exp(cosine / temperature) + weight · share ·
    exp(1 / temperature): shares of a softmax and shares of neighbours summed, on the scale of the
    cosine. A share of all counts `weight` times as much as a cosine of 1. Nothing where the share
    is nothing; a cosine of 1 and a share of all come to 1 + `most(weight, temperature)` together.
    """
    some = np.maximum(share, TINY)
    odds = np.log(weight * some) + (1.0 - nearness) / temperature
    return np.where(share > 0, temperature * np.logaddexp(0.0, odds), 0.0)


def most(weight: float, temperature: float) -> float:
    """By how much shares can lift a score above the highest nearness."""
    return temperature * math.log1p(weight)


def scaled(points: Mapping[str, float], whole: float) -> Parts:
    """The parts of a score from 0 to 1; `whole` is what all points of one product can come to."""
    return {name: value / whole for name, value in points.items()}


def best(candidates: Mapping[int, Candidate], limit: int) -> list[Candidate]:
    """Those with the highest score, ties by number."""
    ordered = sorted(candidates.values(), key=lambda one: (-one.score, one.product_no))
    return ordered[:limit]
