"""How much should what others took, and likeness of texts, count beside the learned model? Online
Retail and Serenade's clicks, where their files lie: on the weeks before the test cuts, by which the
settings are chosen.

The network is trained once an archive, over arrays, without Postgres; each mix then orders the same
visits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from bench.diversity import CHOOSING
from bench.quality import CUT
from bench.report import Line, known, note
from gateway.importing import common_format, files
from ranking.catalog import encoder, fitting
from ranking.catalog.encoder import DIMENSION, Encoder, Vectors
from ranking.catalog.learned import KIND_NUMBERS, STEPS, Array, Mix, Network, whitened
from ranking.catalog.neighbours import RECIPE
from ranking.strategies import learned, mixing
from ranking.strategies.mixing import Reasons
from ranking.training import clickstream, measure, mixture, sessions, stage0
from ranking.training.baselines import Stan
from ranking.training.clickstream import Click
from ranking.training.corpus import HORIZONS, Corpus, Instances, gathered, instances
from ranking.training.measure import Scores
from ranking.training.network import Settings, Training, repeatable

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
EPOCHS = {"online-retail": 3, "serenade-clicks": 7}  # the best of ten on these weeks
SPANS = {
    "online-retail": (CHOOSING, CUT),
    "serenade-clicks": (datetime(2020, 6, 25, tzinfo=UTC), datetime(2020, 6, 28, tzinfo=UTC)),
}
NEIGHBOURS = (0.0, 0.5, 1.0, 2.0, 4.0)
PLAIN = replace(RECIPE, sharpness=1.0)
TEXTS = (0.0, 0.1, 0.2, 0.4, 0.8)
LIFTS = (0.0, 0.25, 0.5, 1.0, 2.0)
# Of visitors with as many events in earlier visits as the model looks at.
EARLIER = (1.0, 0.5, 0.25, 0.125, 0.0625, 0.0)
REPEATED = (0.0, 0.25, 0.5, 1.0, 2.0)
# Tuned on the last training weeks by `backtest`.
STAN = Stan(neighbours=200, most=1500, lambda_1=0.5, lambda_2=120.0, lambda_3=3.0)


@dataclass(frozen=True)
class Tried:
    """An archive cut in two, what was learned from the first part, and what is asked of the
    second; `kept` are the clicks of the first, `visits` those of the second by their numbers."""

    name: str
    ids: list[str]
    kept: list[Click]
    before: Corpus
    cut: float
    served: Vectors
    network: Network
    vectors: Array
    taken: csr_array
    asked: list[Instances]
    visits: list[list[Click]]


def run() -> Iterator[Line]:
    for name, (cut, end) in SPANS.items():
        if not (DATA / name).exists():
            note(f"mixing: {name} left out, its files are not beside the project")
            continue
        note(f"mixing: learning from {name} up to {cut:%Y-%m-%d}; a minute or two")
        yield from _mixes(_tried(name, cut.timestamp(), end.timestamp()))


def _mixes(tried: Tried) -> Iterator[Line]:
    reasons, usual = _reasons(tried), Mix()
    yield _line(tried, "the model alone", measure.by_network(tried.network, tried.vectors))
    plain = replace(tried, taken=mixture.taken_beside(tried.before, tried.cut, PLAIN))
    for about, one in (("", tried), (", counts as they are", plain)):
        first_day = stage0.served(one.served, one.before, one.taken, one.cut)
        yield _line(one, f"before any training{about}", first_day)
        yield _line(one, f"the usual mix{about}", mixture.by_mix(_reasons(one), usual))
    for neighbours in NEIGHBOURS:
        mix = usual._replace(neighbours=neighbours)
        yield _line(tried, f"neighbours {neighbours:g}", mixture.by_mix(reasons, mix))
    yield _line(tried, "STAN's visits as neighbours", mixture.by_mix(_by_stan(tried), usual))
    yield _line(tried, "an interest for each event", mixture.by_mix(_by_each(tried), usual))
    if not tried.served.any():
        return
    for text in TEXTS:
        mix = usual._replace(text=text)
        yield _line(tried, f"texts {text:g}", mixture.by_mix(reasons, mix))
    for lift in LIFTS:
        scores = mixture.by_mix(reasons, usual, lift)
        yield _line(tried, f"new products lifted by {lift:g}", scores)
    yield from _returning(tried)


def _reasons(tried: Tried) -> mixture.Told:
    return mixture.told(tried.network, tried.vectors, tried.served, tried.taken)


def _line(tried: Tried, about: str, scores: Scores) -> Line:
    everything = np.ones(len(tried.ids), bool)
    is_new = ~tried.before.ever()
    found = [measure.lists(scores, one, everything) for one in tried.asked]
    told = _three([one.hits() for one in found])
    ndcg = float(np.mean([one.gains().mean() for one in found]))
    new = [one.hits()[is_new[asked.targets]] for one, asked in zip(found, tried.asked, strict=True)]
    title = f"{tried.name}, before its cut, {about}: HR@10 ({told}; new products {_three(new)})"
    return known(f"{title}, NDCG@10", ndcg, "share", digits=4)


def _three(hits: Sequence[Any]) -> str:
    return ", ".join(f"{one.mean():.3f}" if len(one) else "none" for one in hits)


# an archive ---------------------------------------------------------------------------------------


def _tried(name: str, cut: float, end: float) -> Tried:
    items = [item for _, item in files.records(DATA / name / "items.jsonl.gz", "products")]
    ids = [str(item["product_id"]) for item in items]
    clicks = clickstream.clicks(files.records(DATA / name / "events.jsonl.gz", "events"))
    texts = _texts(items)
    split = clickstream.split(
        [one for one in clicks if one.ts < end], cut, forced_cold=bool(texts.any())
    )
    rows = {product_id: row for row, product_id in enumerate(ids)}
    by_session: dict[str, list[Click]] = {}
    for click in split.train:
        by_session.setdefault(click.session_id, []).append(click)
    before = _corpus(rows, list(by_session.values()))
    fitted = fitting.whitening(texts)
    served = whitened(texts, fitted)
    settings = Settings()
    with repeatable(settings):
        training = Training(before, served, settings)
        for _ in range(EPOCHS[name]):
            training.epoch()
    network = training.network(fitted)
    biases = network.biases(before.counts(cut))[:, np.newaxis]
    vectors = np.concatenate([network.tower(served) + training.history(), biases], axis=1)
    # As `gathered` puts them in order.
    visits = sorted(split.test, key=lambda one: (one[0].ts, [rows[c.product_id] for c in one]))
    after = _corpus(rows, visits)
    return Tried(
        name, ids, split.train, before, cut, served, network, vectors,
        mixture.taken_beside(before, cut), [instances(after, k) for k in HORIZONS], visits,
    )  # fmt: skip


def _texts(items: Sequence[dict[str, Any]]) -> Vectors:
    texts = [encoder.text_of(common_format.product(item)) for item in items]
    made = np.zeros((len(items), DIMENSION), np.float32)
    there = [row for row, text in enumerate(texts) if text]
    if there:
        made[there] = Encoder(threads=2).encode([texts[row] for row in there])
    return made


def _corpus(rows: dict[str, int], visits: Sequence[Sequence[Click]]) -> Corpus:
    return gathered(
        len(rows),
        [
            (
                [rows[one.product_id] for one in visit],
                [_kind(one.type) for one in visit],
                [one.ts for one in visit],
                [1.0] * len(visit),
            )
            for visit in visits
        ],
    )


def _kind(name: str) -> int:
    kind = common_format.TYPES.get(name, name)
    return KIND_NUMBERS["purchase" if kind == "checkout" else kind]


# what others took, by whole visits ----------------------------------------------------------------


def _by_stan(tried: Tried) -> mixture.Told:
    """The same reasons with STAN's scores in the place of the kept neighbours' shares."""
    reasons = _reasons(tried)
    visits = sessions.of(tried.kept)
    columns = np.array([tried.ids.index(one) for one in visits.ids], np.int64)

    def told(part: Instances) -> Reasons:
        shares = np.zeros((len(part), len(tried.ids)), np.float32)
        for row in range(len(part)):
            context = visits.known(tried.ids[at] for at in part.rows[row][::-1])
            if context:
                scores = STAN.scores(visits, context)
                scores[context] = 0.0
                shares[row, columns] = scores / max(scores.sum(), 1e-9)
        return reasons(part)._replace(shares=shares)

    return told


# several interests --------------------------------------------------------------------------------


def _by_each(tried: Tried) -> mixture.Told:
    """The same reasons, but the model is asked for each event alone and for all together, and its
    share of a product is the mean of theirs."""
    reasons = _reasons(tried)
    network, products = tried.network, tried.vectors[:, :-1]

    def told(part: Instances) -> Reasons:
        usual = reasons(part)
        everything = np.ones(usual.logits.shape, bool)
        likely = [mixing.softmax(usual.logits, everything)]
        for at in range(part.k):
            events, kinds = products[part.rows[:, at : at + 1]], part.kinds[:, at : at + 1]
            visitors = network.visitors(events, kinds, np.ones(len(part), np.int64))
            likely.append(mixing.softmax(visitors @ products.T + usual.biases, everything))
        logits = np.log(np.maximum(np.mean(likely, axis=0), mixing.TINY)).astype(np.float32)
        np.put_along_axis(logits, part.rows, -np.inf, axis=1)
        counted = mixture.among_the_first(logits, learned.POOL) & np.isfinite(logits)
        return usual._replace(logits=logits, counted=counted)

    return told


# earlier visits -----------------------------------------------------------------------------------


def _returning(tried: Tried) -> Iterator[Line]:
    """What the last events of earlier visits are worth beside those of this one, where no list
    holds their products; and, where lists may, how much it counts that the visitor took them."""
    history: dict[str, list[Click]] = {}
    for click in tried.kept:
        history.setdefault(click.user_id, []).append(click)
    before = [history.get(visit[0].user_id, []) for visit in tried.visits]
    has_many = np.array([len(clicks) >= STEPS for clicks in before])
    some = replace(tried, asked=[one.chosen(has_many[one.sessions]) for one in tried.asked])
    again = [_taken_before(tried, before, one) for one in some.asked]
    title = f"{tried.name}, before its cut, returning, of what they take next was taken before"
    yield known(f"{title} ({_three(again)})", float(np.concatenate(again).mean()), "share")
    for worth in EARLIER:
        scores = mixture.by_mix(_with_earlier(some, before, worth), Mix())
        yield _line(some, f"returning, events of earlier visits times {worth:g}", scores)
    for weight in REPEATED:
        scores = mixture.by_mix(_with_repeated(some, before, weight), Mix())
        yield _line(some, f"returning, what they took before times {weight:g}", scores)


def _taken_before(tried: Tried, before: list[list[Click]], part: Instances) -> Any:
    taken = [{one.product_id for one in clicks} for clicks in before]
    targets = zip(part.targets, part.sessions, strict=True)
    return np.array([tried.ids[target] in taken[visit] for target, visit in targets])


def _with_earlier(tried: Tried, before: list[list[Click]], worth: float) -> mixture.Told:
    row_of = {product_id: row for row, product_id in enumerate(tried.ids)}
    reasons = _reasons(tried)

    def told(part: Instances) -> Reasons:
        more = [before[visit][: part.k - STEPS - 1 : -1] for visit in part.sessions]
        rows = np.array([[row_of[one.product_id] for one in clicks] for clicks in more])
        kinds = np.array([[_kind(one.type) for one in clicks] for clicks in more])
        whole = replace(
            part,
            k=STEPS,
            rows=np.concatenate([part.rows, rows], axis=1),
            kinds=np.concatenate([part.kinds, kinds], axis=1),
        )
        says = mixture.weights(whole)
        says[:, part.k :] *= worth
        return reasons(whole)._replace(
            shares=mixture.shares(whole, tried.taken, says),
            cosines=mixture.cosines(whole, tried.served, says),
        )

    return told


def _with_repeated(tried: Tried, before: list[list[Click]], weight: float) -> mixture.Told:
    row_of = {product_id: row for row, product_id in enumerate(tried.ids)}
    reasons = _reasons(tried)

    def told(part: Instances) -> Reasons:
        usual = reasons(part)
        for at, visit in enumerate(part.sessions):
            took = np.bincount(
                [row_of[one.product_id] for one in before[visit]], minlength=len(tried.ids)
            )
            took[part.rows[at]] = 0
            usual.shares[at] += weight * took / max(1, took.sum())
        return usual

    return told
