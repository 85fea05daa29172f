"""The mix of the learned model, of what others took and of texts over arrays, as
`strategies.learned` serves it, and how much each is to count for a site.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ranking.catalog import neighbours
from ranking.catalog.encoder import Vectors
from ranking.catalog.learned import KIND_OF, KINDS, Array, Mix, Network
from ranking.catalog.neighbours import Lines, Recipe
from ranking.question import NEW_LIFT
from ranking.strategies import beside, learned, mixing
from ranking.strategies.mixing import Reasons
from ranking.training import measure
from ranking.training.corpus import Corpus, Instances, Ints
from ranking.training.evaluate import FIRST
from ranking.training.measure import Mask, Scores, mean
from ranking.visitors.interests import STEP, TYPE_WEIGHTS

# One type stands for its kind.
STANDS_FOR = {kind: name for name, kind in reversed(KIND_OF.items())}
KIND_WEIGHTS = np.array([TYPE_WEIGHTS.get(STANDS_FOR[kind], 0.5) for kind in KINDS], np.float32)
KIND_SAYS = np.array([neighbours.WEIGHTS.get(STANDS_FOR[kind], 0.0) for kind in KINDS])

# What is tried for a site, the defaults first. Others take their place where they gain more than
# chance would.
TRIED = (
    Mix(),
    *(Mix(n, t) for n, t in product((0.0, 0.5, 1.0, 2.0, 4.0), (0.0, 0.1, 0.2, 0.4))),
)
SURE = 2.0  # standard errors of the paired gain

PRICED = (0.0, 0.5, 1.0, 2.0)  # logits, of which a version's record tells what they cost

Told = Callable[[Instances], Reasons]


def weights(asked: Instances) -> Array:
    """How much each known event says [n, k], by type and recency, as in a profile."""
    made: Array = KIND_WEIGHTS[asked.kinds] * STEP ** np.arange(asked.k, dtype=np.float32)
    return made


# what others took ---------------------------------------------------------------------------------


def taken_beside(corpus: Corpus, at: float, recipe: Recipe = neighbours.RECIPE) -> csr_array:
    """What `catalog.neighbours` would keep as of `at`: shares [products, products]."""
    lines = Lines(
        corpus.rows, KIND_SAYS[corpus.kinds], corpus.lengths, corpus.times[corpus.starts[1:] - 1]
    )
    found = list(neighbours.nearest(lines, at, recipe)) if len(corpus) else []
    counts = [len(one.other_nos) for one in found]
    rows = np.repeat([one.product_no for one in found], counts).astype(np.int64)
    columns = np.array([other for one in found for other in one.other_nos], np.int64)
    shares = np.array([share for one in found for share in one.shares], np.float32)
    return csr_array((shares, (rows, columns)), shape=(corpus.products, corpus.products))


def shares(asked: Instances, taken: csr_array, says: Array | None = None) -> Array:
    """Each product's share [n, products] of what others took beside the known ones: of the most
    taken only, as `strategies.beside` looks them up. `says` in place of `weights`."""
    says = weights(asked) if says is None else says
    says = says / np.maximum(says.sum(axis=1, keepdims=True), 1e-9)
    made = np.zeros((len(asked), taken.shape[0]), np.float32)
    for row in range(len(asked)):
        for product_, weight in zip(asked.rows[row], says[row], strict=True):
            part = slice(taken.indptr[product_], taken.indptr[product_ + 1])
            made[row, taken.indices[part]] += weight * taken.data[part]
    np.put_along_axis(made, asked.rows, 0.0, axis=1)
    made *= among_the_first(made, beside.POOL)
    return made


# texts --------------------------------------------------------------------------------------------


def cosines(asked: Instances, served: Vectors, says: Array | None = None) -> Array:
    """Cosines [n, products] of the visitors' texts and of products' (zeros: none) as text-1 serves
    them; -inf where there are none. `says` in place of `weights`."""
    says = weights(asked) if says is None else says
    mean = np.einsum("ns,nsd->nd", says, served[asked.rows])
    lengths = np.linalg.norm(mean, axis=1, keepdims=True)
    mean /= np.maximum(lengths, 1e-6)
    made: Array = mean @ served.T
    made[:, ~np.any(served != 0, axis=1)] = -np.inf
    made[lengths[:, 0] == 0] = -np.inf
    return made


# the mix ------------------------------------------------------------------------------------------


def told(network: Network, vectors: Array, served: Vectors, taken: csr_array) -> Told:
    """All that speaks for products: the network over their vectors [products, 65], texts, and what
    others took."""

    def reasons(part: Instances) -> Reasons:
        events, lengths = vectors[:, :-1][part.rows], np.full(len(part), part.k)
        visitors = network.visitors(events, part.kinds, lengths)
        logits = visitors @ vectors[:, :-1].T + vectors[:, -1]
        np.put_along_axis(logits, part.rows, -np.inf, axis=1)
        return Reasons(
            logits,
            vectors[:, -1],
            shares(part, taken),
            cosines(part, served),
            among_the_first(logits, learned.POOL) & np.isfinite(logits),
        )

    return reasons


def by_mix(reasons: Told, mix: Mix, lift: float = NEW_LIFT) -> Scores:
    """Scores as they serve; what is neither near nor taken beside is not proposed."""

    def scores(part: Instances) -> Array:
        return _proposed(reasons(part), mix, lift)

    return scores


def _proposed(one: Reasons, mix: Mix, lift: float) -> Array:
    made: Array = np.where(_is_proposed(one), mixing.scores(one, mix, lift), np.float32(0))
    return made


def _is_proposed(one: Reasons) -> Mask:
    return one.counted | (one.shares > 0)


def among_the_first(values: Array, count: int) -> Mask:
    """Which [n, products] are among the `count` highest of their row."""
    if values.shape[1] <= count:
        return np.ones(values.shape, bool)
    least = -np.partition(-values, count - 1, axis=1)[:, count - 1 : count]
    found: Mask = values >= least
    return found


# weights of a site --------------------------------------------------------------------------------


def chosen(reasons: Told, asked: Sequence[Instances], servable: Mask) -> Mix:
    """Those of TRIED that give these visits the highest NDCG@10, if by more than SURE standard
    errors above the defaults; else the defaults."""
    tried = [(mix, 0.0) for mix in TRIED]
    gains = np.concatenate([_gains(reasons, one, servable, tried) for one in asked], axis=1)
    if not gains.shape[1]:
        return TRIED[0]
    best = int(np.argmax(gains.mean(axis=1)))
    gained = gains[best] - gains[0]
    error = gained.std() / np.sqrt(len(gained))
    return TRIED[best] if gained.mean() > SURE * error else TRIED[0]


def prices(
    reasons: Told, mix: Mix, asked: Sequence[Instances], servable: Mask, is_new: Mask
) -> list[dict[str, float]]:
    """What lifting products without history by so many logits does to these visits: NDCG@10 of
    all, and of those whose target `is_new` (a mask over rows)."""
    tried = [(mix, lift) for lift in PRICED]
    gains = np.concatenate([_gains(reasons, one, servable, tried) for one in asked], axis=1)
    new = np.concatenate([is_new[one.targets] for one in asked])
    return [
        {"lift": lift, "ndcg@10": mean(of_lift), "ndcg@10 of new": mean(of_lift[new])}
        for lift, of_lift in zip(PRICED, gains, strict=True)
    ]


def _gains(
    reasons: Told, asked: Instances, servable: Mask, tried: Sequence[tuple[Mix, float]]
) -> Array:
    """What each mix with its lift gives each visit [tried, n]."""
    found = [np.zeros((len(tried), 0), np.float32)]
    for part in measure.parts(asked, len(servable)):
        one = reasons(part)
        columns = _columns(_is_proposed(one) & servable)
        few = _of(one, columns)
        is_target = columns == part.targets[:, np.newaxis]
        each = [_gain(mixing.scores(few, mix, lift), is_target) for mix, lift in tried]
        found.append(np.array(each))
    return np.concatenate(found, axis=1)


def _columns(proposed: Mask) -> Ints:
    """Which products are proposed [n, most], filled up with -1: few of very many."""
    rows, products = np.nonzero(proposed)
    counts = np.bincount(rows, minlength=len(proposed))
    made = np.full((len(proposed), max(1, int(counts.max(initial=0)))), -1, np.int64)
    made[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = products
    return made


def _of(one: Reasons, columns: Ints) -> Reasons:
    """What speaks for these products alone."""
    there, at = columns >= 0, np.maximum(columns, 0)

    def taken(values: Any, missing: float) -> Any:
        return np.where(there, np.take_along_axis(values, at, axis=1), missing)

    return Reasons(
        taken(one.logits, -np.inf),
        np.where(there, one.biases[at], 0.0),
        taken(one.shares, 0.0),
        taken(one.cosines, -np.inf),
        taken(one.counted, False).astype(bool),
    )


def _gain(scores: Array, is_target: Mask) -> Array:
    """NDCG@10 of each target by how many score higher."""
    target = np.where(is_target, scores, 0).max(axis=1, keepdims=True)
    rank = 1 + (scores > target).sum(axis=1)
    hit = (rank <= FIRST) & (target[:, 0] > 0)
    return np.where(hit, 1 / np.log2(1 + rank), 0).astype(np.float32)
