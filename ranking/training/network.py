"""The network that is trained, in torch, and how: `learned.Network` is what comes of it.

One softmax over the products at every position of a visit, so that one network serves after one,
two and three events (Klenitskiy & Vasilev, RecSys 2023: the loss matters more than the
architecture). In each step the history of a random share of the products is left out, so that
their text alone must rank them, with odds that are right beside the others' ("Let It Go? Not
Quite", RecSys 2025: frozen content and a small trainable delta).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ranking.catalog.learned import (
    HEADS,
    KINDS,
    SHAPES,
    STEPS,
    WHITENING,
    WIDTH,
    Array,
    Mix,
    Network,
)
from ranking.training.corpus import DAY_S, Corpus

POSITIONS = 13  # of a visit that have a next one to foretell
FIRST_KINDS = {"purchase": 0.6, "cart": 0.4, "wish": 0.3, "view": 0.0, "search": 0.0, "other": -0.2}
FIRST_STEP = 0.4  # how much less each step back counts before anything is learned
FIRST_SCALE = 8.0
FIRST_APART = 0.05  # deviation of each of the 64 numbers

Told = Callable[[int, int], None]  # (done, of)


@dataclass(frozen=True)
class Settings:
    """How it is trained. Rows are positions of visits: what one step of it costs."""

    seed: int = 0
    threads: int = 2
    epochs: int = 12
    budget_s: float = 400.0  # after so long no further epoch is begun
    rows_a_step: int = 2_048
    all_products_up_to: int = 5_000
    negatives: int = 3_000
    dropped: float = 0.3  # of the products whose history is left out in a step
    learning_rate: float = 2e-3
    history_rate: float = 4e-3
    decay: float = 0.01
    history_decay: float = 0.05
    input_dropout: float = 0.1
    from_start: float = 0.5  # of long visits, taken from their beginning; else from anywhere
    memory_days: float = 200.0  # a visit so old counts 1/e of a new one
    blocks: int = 40  # spans of time, each with the popularity of before it
    average: float = 0.99  # of the weights, from step to step


class Tower(nn.Module):
    """P(t): 384 numbers of a text to 64, by a small network beside a straight line."""

    def __init__(self) -> None:
        super().__init__()
        text, hidden = SHAPES["hidden"]
        self.skip = nn.Parameter(torch.randn(text, WIDTH) / math.sqrt(WIDTH))
        self.hidden = nn.Parameter(torch.randn(text, hidden) * math.sqrt(2 / text) * 4)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.out = nn.Parameter(torch.randn(hidden, WIDTH) * 0.1 / math.sqrt(hidden))
        self.out_bias = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, texts: Tensor) -> Tensor:
        hidden = functional.relu(texts @ self.hidden + self.hidden_bias)
        return texts @ self.skip + hidden @ self.out + self.out_bias


class Encoder(nn.Module):
    """The visitor after each of POSITIONS events, from the STEPS last ones of each."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(WIDTH, WIDTH) * 0.5 / math.sqrt(WIDTH))
        self.key = nn.Parameter(torch.randn(WIDTH, WIDTH) * 0.5 / math.sqrt(WIDTH))
        self.value = nn.Parameter(torch.eye(WIDTH))
        back = torch.arange(STEPS, dtype=torch.float32)
        self.recency = nn.Parameter((-FIRST_STEP * back).repeat(HEADS, 1))
        first = torch.tensor([FIRST_KINDS[name] for name in KINDS])
        self.kinds = nn.Parameter(first.repeat(HEADS, 1))
        self.gate = nn.Parameter(torch.zeros(2 * WIDTH, WIDTH))
        self.gate_bias = nn.Parameter(torch.zeros(WIDTH))
        self.inner = nn.Parameter(torch.randn(WIDTH, 2 * WIDTH) * math.sqrt(2 / WIDTH))
        self.outer = nn.Parameter(torch.zeros(2 * WIDTH, WIDTH))
        self.scale = nn.Parameter(torch.tensor(FIRST_SCALE))
        steps_back = torch.arange(POSITIONS)[:, None] - torch.arange(POSITIONS)[None, :]
        self.back = steps_back.clamp(0, STEPS - 1)
        self.unseen = (steps_back < 0) | (steps_back >= STEPS)

    def forward(self, events: Tensor, kinds: Tensor) -> Tensor:
        """[n, positions, 64] of events and their kinds, oldest first."""
        number, positions, _ = events.shape
        heads = (number, positions, HEADS, WIDTH // HEADS)
        query = (events @ self.query).view(heads).transpose(1, 2)
        key = (events @ self.key).view(heads).transpose(1, 2)
        value = (events @ self.value).view(heads).transpose(1, 2)
        logits = query @ key.transpose(2, 3) / math.sqrt(WIDTH / HEADS)
        logits = logits + self.recency[:, self.back[:positions, :positions]]
        logits = logits + self.kinds[:, kinds].permute(1, 0, 2)[:, :, None, :]
        logits = logits.masked_fill(self.unseen[:positions, :positions], -math.inf)
        pooled = (logits.softmax(dim=-1) @ value).transpose(1, 2).reshape(number, positions, WIDTH)
        both = torch.cat([events, pooled], dim=-1)
        gate = torch.sigmoid(both @ self.gate + self.gate_bias)
        mixed = gate * events + (1 - gate) * pooled
        return self.scale * (mixed + functional.relu(mixed @ self.inner) @ self.outer)


class Trained(nn.Module):
    """All that is learned: the towers, each product's history, what popularity adds."""

    def __init__(self, products: int) -> None:
        super().__init__()
        self.tower = Tower()
        self.encoder = Encoder()
        self.history = nn.Parameter(torch.zeros(products, WIDTH))
        self.popularity = nn.Parameter(torch.tensor([0.5, 0.0]))


# training -----------------------------------------------------------------------------------------


class Training:
    """One training, epoch by epoch. `texts` are whitened [products, 384], zeros where there is
    none; `start`: a network and a history to go on from."""

    def __init__(
        self,
        corpus: Corpus,
        texts: Array,
        settings: Settings,
        start: tuple[Network, Array] | None = None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.random = np.random.default_rng(settings.seed)
        self.corpus = corpus
        self.lengths, self.begun = corpus.lengths, corpus.begun
        self.texts = torch.from_numpy(texts)
        self.has_text = torch.from_numpy(np.any(texts != 0, axis=1))
        self.seen = np.flatnonzero(corpus.ever())
        self.model = Trained(corpus.products)
        if start:
            _load(self.model, *start)
        else:
            _begin_at_texts(self.model.tower, texts)
            _tell_apart(self.model.history, self.has_text)
        self.average = deepcopy(self.model).requires_grad_(False)
        self.optimizer = _optimizer(self.model, settings)
        self.until = float(corpus.times.max()) + 1 if corpus.events else 0.0
        self.blocks = _blocks(corpus, settings.blocks)
        self.counts = [corpus.counts(begin) for begin, _ in self.blocks]
        self.shares = np.bincount(corpus.rows, minlength=corpus.products) / max(1, corpus.events)
        self.steps = 0

    def epoch(self, told: Told = lambda done, of: None, *, most: int | None = None) -> float:
        """Every visit once, or `most` steps of that; the mean loss."""
        batches = list(self._batches())[:most]
        total = 0.0
        for number, (block, sessions) in enumerate(batches, 1):
            total += self._step(block, sessions)
            told(number, len(batches))
        return total / max(1, len(batches))

    def steps_an_epoch(self) -> int:
        """How many steps an epoch takes, about."""
        positions = np.clip(self.lengths - 1, 0, POSITIONS).sum()
        return math.ceil(float(positions) / self.settings.rows_a_step)

    def _batches(self) -> Iterator[tuple[int, Any]]:
        """Visits of one span of time together, the spans in random order."""
        positions = np.minimum(self.lengths - 1, POSITIONS)
        found = []
        for block, (begin, end) in enumerate(self.blocks):
            inside = (self.begun >= begin) & (self.begun < end) & (positions > 0)
            sessions = self.random.permutation(np.flatnonzero(inside))
            if not len(sessions):
                continue
            rows = np.cumsum(positions[sessions])
            cuts = np.arange(1, math.ceil(rows[-1] / self.settings.rows_a_step))
            ends = np.searchsorted(rows, cuts * self.settings.rows_a_step)
            found += [(block, one) for one in np.split(sessions, ends) if len(one)]
        order = self.random.permutation(len(found))
        return (found[number] for number in order)

    def _step(self, block: int, sessions: Any) -> float:
        rows, kinds, there, at = self._windows(sessions)
        candidates, log_odds = self._candidates(rows, there)
        place = np.full(self.corpus.products, -1)
        place[candidates] = np.arange(len(candidates))
        placed = torch.from_numpy(place[np.where(there, rows, rows[:, :1])])
        vectors, biases = self._products(candidates, block)
        events = functional.dropout(vectors[placed[:, :-1]], self.settings.input_dropout)
        visitors = self.model.encoder(events, torch.from_numpy(kinds[:, :-1]))
        wanted, (row, context) = self._wanted(rows, there)
        chosen = visitors[wanted]
        loss = Softmax.apply(  # type: ignore[no-untyped-call]
            torch.cat([chosen, torch.ones(len(chosen), 1)], dim=1),
            torch.cat([vectors, biases[:, None]], dim=1),
            placed[:, 1:][wanted],
            (row, placed.reshape(-1)[context]),
            log_odds,
        )
        weights = self._weights(sessions, wanted, at)
        mean = (loss * weights).sum() / weights.sum()
        self.optimizer.zero_grad()
        mean.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self._averaged()
        return float(mean.detach())

    def _windows(self, sessions: Any) -> tuple[Any, Any, Any, Any]:
        """POSITIONS + 1 events of each visit: rows, kinds, whether there is one, its number."""
        lengths = self.lengths[sessions]
        spare = np.maximum(lengths - POSITIONS - 1, 0)
        offset = np.where(
            self.random.random(len(sessions)) < self.settings.from_start,
            0,
            self.random.integers(0, spare + 1),
        )
        steps = np.arange(POSITIONS + 1)
        there = steps < (lengths - offset)[:, np.newaxis]
        at = (self.corpus.starts[:-1][sessions] + offset)[:, np.newaxis] + steps
        at = np.minimum(at, len(self.corpus.rows) - 1)
        return self.corpus.rows[at], self.corpus.kinds[at], there, at

    def _candidates(self, rows: Any, there: Any) -> tuple[Any, Tensor | None]:
        """The rows that compete, and the logarithm of how likely each was to be among them."""
        if len(self.seen) <= self.settings.all_products_up_to:
            return self.seen, None
        own = np.unique(rows[there])
        others = self.random.choice(self.seen, self.settings.negatives, replace=False)
        candidates = np.union1d(own, others)
        drawn = self.settings.negatives / len(self.seen)
        own_odds = -np.expm1(there.sum() * np.log1p(-self.shares[candidates]))
        odds = 1 - (1 - drawn) * (1 - own_odds)
        return candidates, torch.from_numpy(np.log(odds).astype(np.float32))

    def _products(self, candidates: Any, block: int) -> tuple[Tensor, Tensor]:
        """Vectors and biases, the history of some left out of both."""
        chosen = torch.from_numpy(candidates)
        left_out = (torch.rand(len(chosen)) < self.settings.dropped) & self.has_text[chosen]
        keep = (~left_out).float()
        vectors = self.model.tower(self.texts[chosen])
        vectors = vectors + keep[:, None] * self.model.history[chosen]
        counts = torch.from_numpy(self.counts[block][candidates])
        slope, offset = self.model.popularity
        popular = (slope * torch.log1p(counts) + offset) * (counts > 0)
        return vectors, keep * popular

    def _wanted(self, rows: Any, there: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Which positions have a next event that was not there before, and the pairs of (such a
        position, product before it): those are not proposed, so they do not compete."""
        later = there[:, 1:, np.newaxis]
        earlier = np.tril(np.ones((POSITIONS, POSITIONS), bool))
        again = (rows[:, 1:, np.newaxis] == rows[:, np.newaxis, :-1]) & earlier
        wanted = later[:, :, 0] & ~again.any(axis=2)
        number, position = np.nonzero(wanted)
        row, column = np.nonzero(earlier[position])
        return torch.from_numpy(wanted), (
            torch.from_numpy(row),
            torch.from_numpy(number[row] * (POSITIONS + 1) + column),
        )

    def _weights(self, sessions: Any, wanted: Tensor, at: Any) -> Tensor:
        """By age, and how many events the one that is wanted stands for."""
        age = (self.until - self.begun[sessions]) / DAY_S
        weights = np.exp(-age / self.settings.memory_days).astype(np.float32)
        by_age = torch.from_numpy(weights)[:, None].expand(wanted.shape)[wanted]
        if self.corpus.weights is None:
            return by_age
        return by_age * torch.from_numpy(self.corpus.weights[at[:, 1:]])[wanted]

    @torch.no_grad()
    def _averaged(self) -> None:
        self.steps += 1
        keep = min(self.settings.average, (1 + self.steps) / (10 + self.steps))
        for mean, now in zip(self.average.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(now, 1 - keep)

    # what came of it

    def network(self, whitening: dict[str, Array]) -> Network:
        """The averaged weights so far."""
        made = {name: _array(self._parameter(name)) for name in SHAPES if name != "mix"}
        made["mix"] = np.array(Mix(), np.float32)
        return Network(made | {name: whitening[name] for name in WHITENING if whitening})

    def _parameter(self, name: str) -> Tensor:
        if name == "popularity":
            return self.average.popularity
        part = self.average.tower if hasattr(self.average.tower, name) else self.average.encoder
        found: Tensor = getattr(part, name)
        return found

    def history(self) -> Array:
        """What each product's own events add to its text [products, 64]."""
        made: Array = _array(self.average.history) * self.corpus.ever()[:, np.newaxis]
        return made


def _array(tensor: Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float32)


def _begin_at_texts(tower: Tower, texts: Array) -> None:
    """The straight line shows the texts' 64 widest directions, so that like texts begin alike."""
    if not texts.any():
        return
    _, axes = np.linalg.eigh(texts.astype(np.float64).T @ texts)
    widest = axes[:, -WIDTH:]
    lengths = np.linalg.norm(texts @ widest, axis=1)
    with torch.no_grad():
        tower.skip.copy_(torch.from_numpy(widest / lengths[lengths > 0].mean()))


def _tell_apart(history: nn.Parameter, has_text: Tensor) -> None:
    """What has no text begins anywhere: were all the same, nothing could move them apart."""
    with torch.no_grad():
        history.copy_(FIRST_APART * torch.randn(history.shape) * ~has_text[:, None])


def _load(model: Trained, network: Network, history: Array) -> None:
    with torch.no_grad():
        for part in (model.tower, model.encoder):
            for name, parameter in part.named_parameters():
                parameter.copy_(torch.from_numpy(network.weights[name].copy()))
        model.popularity.copy_(torch.from_numpy(network.weights["popularity"].copy()))
        model.history.copy_(torch.from_numpy(history.copy()))


def _optimizer(model: Trained, settings: Settings) -> torch.optim.Optimizer:
    straight = {"hidden_bias", "out_bias", "gate_bias", "recency", "kinds", "scale"}
    groups: dict[str, list[nn.Parameter]] = {"decayed": [], "free": [], "history": []}
    for name, parameter in model.named_parameters():
        last = name.rsplit(".", 1)[-1]
        kind = "history" if last == "history" else "free" if last in straight else "decayed"
        groups["free" if last == "popularity" else kind].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups["decayed"], "weight_decay": settings.decay},
            {"params": groups["free"], "weight_decay": 0.0},
            {
                "params": groups["history"],
                "lr": settings.history_rate,
                "weight_decay": settings.history_decay,
            },
        ],
        lr=settings.learning_rate,
    )


def _blocks(corpus: Corpus, most: int) -> list[tuple[float, float]]:
    """Spans of time with about as many visits each, in order; they cover everything."""
    if not len(corpus):
        return []
    begun = corpus.begun
    edges = np.unique(np.quantile(begun, np.linspace(0, 1, most + 1)[1:-1]))
    edges = np.concatenate([[begun[0]], edges[edges > begun[0]], [np.inf]])
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))


class Softmax(torch.autograd.Function):
    """Cross-entropy [n] of targets among products that compete, in as few passes over [n, products]
    as there can be: they are what a training's time goes into.

    Where only some products compete each stands for those that were not drawn, by the inverse of
    its odds; the target is there for certain. `known` are (row, product) pairs that do not compete.
    """

    @staticmethod
    def forward(
        context: Any,
        visitors: Tensor,
        products: Tensor,
        targets: Tensor,
        known: tuple[Tensor, Tensor],
        log_odds: Tensor | None,
    ) -> Tensor:
        logits = visitors @ products.T
        rows = torch.arange(len(targets))
        right = logits[rows, targets]
        if log_odds is not None:
            logits -= log_odds
            logits[rows, targets] = right
        logits[known] = -math.inf
        logits -= logits.amax(dim=1, keepdim=True)
        loss = -logits[rows, targets]
        odds = logits.exp_()
        total = odds.sum(dim=1, keepdim=True)
        odds /= total
        context.save_for_backward(visitors, products, targets, odds)
        return loss + total[:, 0].log()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        visitors, products, targets, odds = context.saved_tensors
        odds[torch.arange(len(targets)), targets] -= 1
        odds *= gradients[0][:, None]
        return odds @ products, odds.T @ visitors, None, None, None


@contextmanager
def repeatable(settings: Settings) -> Iterator[None]:
    """So many threads, and the same result each time."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(settings.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # A tenth of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
