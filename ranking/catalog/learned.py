"""The learned model as it serves: products and visitors as vectors of 64 numbers, by numpy alone.

`training` makes the weights. A product is what its text says, P(t), and what its history adds to
it; a visitor is what the last events say together. Their inner product, and the product's bias,
tells how likely that product is the next.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from ranking.catalog.encoder import Vectors
from ranking.catalog.models import unit
from schemas.errors import AttuneError

WIDTH = 64
DIMENSION = WIDTH + 1  # a product's vector and its bias; a visitor's and 1
HEADS = 4
STEPS = 12  # events that shape a visitor's vector
FORMAT = 1

# What events are to the network, the stronger later. Types that are not named say nothing to it.
KINDS = ("other", "search", "view", "wish", "cart", "purchase")
KIND_OF = {
    "purchase": "purchase",
    "add_to_cart": "cart",
    "checkout_started": "cart",
    "add_to_collection": "wish",
    "like": "wish",
    "bookmark": "wish",
    "share": "wish",
    "subscribe": "wish",
    "complete": "wish",
    "submit": "wish",
    "product_detail_page_view": "view",
    "read": "view",
    "watch": "view",
    "listen": "view",
    "click": "view",
    "product_image_view": "view",
    "search": "search",
    "category_page_view": "search",
    "rate": "other",
    "custom": "other",
    "promo_page_view": "other",
}
KIND_NUMBERS = {name: KINDS.index(kind) for name, kind in KIND_OF.items()}

Array = np.ndarray[Any, np.dtype[np.float32]]


class Mix(NamedTuple):
    """How much what others took in the same sessions, and likeness of texts, count beside the
    model's own 1. Chosen on three weeks of Online Retail before its test cut (docs/decisions.md);
    a training looks whether others suit its site better."""

    neighbours: float = 2.0
    text: float = 0.2


# The weights by name; `mean` and `rotation` are left out where texts are served as they are.
SHAPES: Mapping[str, tuple[int, ...]] = {
    "skip": (384, WIDTH),
    "hidden": (384, 128),
    "hidden_bias": (128,),
    "out": (128, WIDTH),
    "out_bias": (WIDTH,),
    "query": (WIDTH, WIDTH),
    "key": (WIDTH, WIDTH),
    "value": (WIDTH, WIDTH),
    "recency": (HEADS, STEPS),
    "kinds": (HEADS, len(KINDS)),
    "gate": (2 * WIDTH, WIDTH),
    "gate_bias": (WIDTH,),
    "inner": (WIDTH, 2 * WIDTH),
    "outer": (2 * WIDTH, WIDTH),
    "scale": (),
    "popularity": (2,),
    "mix": (2,),
}
WHITENING: Mapping[str, tuple[int, ...]] = {"mean": (384,), "rotation": (384, 384)}


class Damaged(AttuneError):
    """Weights that are not what this version writes: train the site again."""


class _Looked(NamedTuple):
    """How a visitor's events count: `attention` [n, HEADS, steps], `gate` and `pooled` [n, 64]."""

    attention: Array
    gate: Array
    pooled: Array


class Network:
    """The weights, and what they make of texts and events. Vectors are float32."""

    def __init__(self, weights: Mapping[str, Array]) -> None:
        """Raises Damaged."""
        _check(weights)
        self.weights = weights
        self.mix = Mix(*weights["mix"].tolist())

    def mixed(self, mix: Mix) -> Network:
        """The same with other weights beside it."""
        return Network(dict(self.weights) | {"mix": np.array(mix, np.float32)})

    # products

    def of_texts(self, raw: Vectors) -> Array:
        """P(t) of raw text vectors: what products without history are, and queries."""
        return self.tower(whitened(raw, self.weights))

    def tower(self, texts: Vectors) -> Array:
        """P(t) [n, 64] of whitened text vectors [n, 384]."""
        w = self.weights
        hidden = np.maximum(texts @ w["hidden"] + w["hidden_bias"], 0)
        made: Array = texts @ w["skip"] + hidden @ w["out"] + w["out_bias"]
        return made

    def biases(self, counts: Array) -> Array:
        """What decayed counts of events add to the products' scores; without any, nothing."""
        slope, offset = self.weights["popularity"]
        return np.where(counts > 0, slope * np.log1p(counts) + offset, 0).astype(np.float32)

    # visitors

    def visitor(self, events: Array, kinds: np.ndarray[Any, Any]) -> Array:
        """The vector [64] of one visitor: `events` [n, 64] and their `kinds`, newest first."""
        events, kinds = events[np.newaxis, :STEPS], kinds[np.newaxis, :STEPS]
        made: Array = self.visitors(events, kinds, np.array([events.shape[1]]))[0]
        return made

    def visitors(
        self, events: Array, kinds: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]
    ) -> Array:
        """Vectors [n, 64] of visitors with `lengths` events each: `events` [n, steps, 64] newest
        first, filled up with anything; at least one and at most STEPS each."""
        looked = self._looked(events, kinds, lengths)
        mixed = looked.gate * events[:, 0] + (1 - looked.gate) * looked.pooled
        return self._finished(mixed)

    def _looked(
        self, events: Array, kinds: np.ndarray[Any, Any], lengths: np.ndarray[Any, Any]
    ) -> _Looked:
        w, (number, steps, _) = self.weights, events.shape
        query = (events[:, 0] @ w["query"]).reshape(number, 1, HEADS, -1)
        key = (events @ w["key"]).reshape(number, steps, HEADS, -1)
        value = (events @ w["value"]).reshape(number, steps, HEADS, -1)
        logits = (query * key).sum(axis=-1) / np.float32(np.sqrt(WIDTH / HEADS))
        logits = logits.transpose(0, 2, 1) + w["recency"][:, :steps]
        logits = logits + w["kinds"][:, kinds].transpose(1, 0, 2)
        missing = np.arange(steps) >= lengths[:, np.newaxis]
        logits = np.where(missing[:, np.newaxis], -np.inf, logits)
        attention = np.exp(logits - logits.max(axis=-1, keepdims=True))
        attention /= attention.sum(axis=-1, keepdims=True)
        pooled = np.einsum("nhs,nshd->nhd", attention, value).reshape(number, WIDTH)
        both = np.concatenate([events[:, 0], pooled], axis=1)
        gate = 1 / (1 + np.exp(-(both @ w["gate"] + w["gate_bias"])))
        return _Looked(attention, gate, pooled)

    def _finished(self, mixed: Array) -> Array:
        w = self.weights
        made: Array = w["scale"] * (mixed + np.maximum(mixed @ w["inner"], 0) @ w["outer"])
        return made

    def shares(self, events: Array, kinds: np.ndarray[Any, Any], products: Array) -> Array:
        """What each event adds to each product's inner product with the visitor: [products, n].

        Exact: how much the network looks at each event, its gate and which of its inner units are
        awake are taken as they are; with them the visitor's vector is linear in the events, and
        there is no constant. So the shares of a product sum to its inner product.
        """
        w, steps = self.weights, len(events)
        looked = self._looked(events[np.newaxis], kinds[np.newaxis], np.array([steps]))
        value = (events @ w["value"]).reshape(steps, HEADS, -1)
        pooled = np.einsum("hs,shd->shd", looked.attention[0], value).reshape(steps, WIDTH)
        parts = (1 - looked.gate) * pooled
        parts[0] += (looked.gate * events[:1])[0]
        awake = parts.sum(axis=0) @ w["inner"] > 0
        vectors = w["scale"] * (parts + (parts @ w["inner"] * awake) @ w["outer"])
        shares: Array = products @ vectors.T
        return shares


def whitened(raw: Vectors, weights: Mapping[str, Array]) -> Vectors:
    """Raw text vectors [n, 384] as the tower takes them: half-whitened, where the weights know how,
    and of unit length; zeros (no text) stay."""
    if "rotation" not in weights:
        return unit(raw)
    there = np.any(raw != 0, axis=-1, keepdims=True)
    moved: Vectors = unit((raw - weights["mean"]) @ weights["rotation"]) * there
    return moved


def _check(weights: Mapping[str, Array]) -> None:
    wanted = dict(SHAPES) | (dict(WHITENING) if "rotation" in weights else {})
    for name, shape in wanted.items():
        if name not in weights or weights[name].shape != shape:
            raise Damaged(f"the learned weights have no {name} of the shape {shape}")
        if not np.isfinite(weights[name]).all():
            raise Damaged(f"the learned weights have numbers in {name} that are not finite")


def written(network: Network) -> bytes:
    """The weights as a row keeps them: about a megabyte, arrays only."""
    file = io.BytesIO()
    np.savez(file, format=np.int64(FORMAT), **network.weights)  # type: ignore[arg-type]
    return file.getvalue()


def read(content: bytes) -> Network:
    """The weights that `written` wrote; raises Damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, KeyError, EOFError, BadZipFile) as error:
        raise Damaged(f"the learned weights cannot be read: {error}") from None
    if found.pop("format", None) != FORMAT:
        raise Damaged(f"the learned weights are not of the format {FORMAT}")
    return Network({name: array.astype(np.float32, copy=False) for name, array in found.items()})
