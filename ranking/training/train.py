"""One training of one site, from its events to a version that is live or was refused.

read → clean → train on all but the last days → judge on those → train on, with them → build the
version's table → promote. The trainer role, `train SITE` and `backtest` call `train`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from ranking.catalog import fitting, learned_models, models
from ranking.catalog.encoder import Vectors
from ranking.catalog.learned import DIMENSION, WHITENING, Array, Mix, Network, whitened, written
from ranking.catalog.learned_models import Learned
from ranking.catalog.models import SQL
from ranking.training import (
    build,
    checkpoint,
    gate,
    heldout,
    measure,
    mixture,
    promote,
    reading,
    stage0,
)
from ranking.training.checkpoint import Checkpoint
from ranking.training.corpus import HORIZONS, Corpus, Instances, instances
from ranking.training.gate import Shown, Verdict
from ranking.training.measure import Scores
from ranking.training.network import Settings, Training, repeatable
from schemas import database
from schemas.database import Connection

PATIENCE = 2  # epochs without a gain before it stops
GOING_ON = 4  # most epochs of one that goes on from the last one's checkpoint
RECALL_QUERIES = 200
HELD = "somebody went back to an earlier version: `models SITE promote N` lets this one serve"

Told = Callable[[str, int, int], None]  # (stage, done, of; 0: nobody knows)


@dataclass(frozen=True)
class Outcome:
    """What a training came to: the version's number and record, or why there is none."""

    model_id: int | None = None
    promoted: bool = False
    record: dict[str, Any] | None = None
    skipped: str | None = None
    busy: bool = False


def train(
    connection: Connection,
    site_id: int,
    at: datetime,
    *,
    settings: Settings | None = None,
    scheduled: bool = False,
    told: Told = lambda stage, done, of: None,
) -> Outcome:
    """Train the site on what happened before `at`, and promote the version if it is better. Where
    somebody went back to an earlier version, a `scheduled` training leaves promoting to them.

    The connection is in autocommit. One at a time over all machines. Killed at any point it leaves
    the live version as it was.
    """
    with _alone(connection) as alone:
        if not alone:
            return Outcome(busy=True)
        settings = settings or Settings()
        with repeatable(settings):
            return _Run(connection, site_id, at, settings, told, scheduled).outcome()


@contextmanager
def _alone(connection: Connection) -> Iterator[bool]:
    row = connection.execute(SQL.lock_training).fetchone()
    alone = bool(row and row[0])
    try:
        yield alone
    finally:
        if alone and not connection.broken:
            connection.execute(SQL.unlock_training)


@dataclass
class _Fitted:
    """What a training made, and of how many epochs."""

    network: Network
    history: Array
    epochs: int

    def mixed(self, mix: Mix) -> _Fitted:
        """The same with these weights beside it."""
        return _Fitted(self.network.mixed(mix), self.history, self.epochs)

    def vectors(self, texts: Array, counts: Array) -> Array:
        """Products [n, 65] with their biases of such counts."""
        made = self.network.tower(texts) + self.history
        return np.concatenate([made, self.network.biases(counts)[:, np.newaxis]], axis=1)


class _Best:
    """The one of those offered that gained most."""

    made: _Fitted
    gain = -1.0

    def offer(self, fitted: _Fitted, gain: float) -> None:
        if gain > self.gain:
            self.made, self.gain = fitted, gain


class _Run:
    def __init__(
        self,
        connection: Connection,
        site_id: int,
        at: datetime,
        settings: Settings,
        told: Told,
        scheduled: bool,
    ) -> None:
        self.connection = connection
        self.site_id = site_id
        self.at = at
        self.settings = settings
        self.told = told
        self.scheduled = scheduled
        self.began = time.monotonic()
        self.verdict = Verdict()

    def outcome(self) -> Outcome:
        self.archive = reading.archive(self.connection, self.site_id, self.at, self.told)
        if reason := heldout.lacking(self.archive.corpus):
            return Outcome(skipped=reason)
        self.held = heldout.held_out(self.archive.corpus, self.archive.hidden)
        self.whitening = fitting.whitening(self.archive.texts)
        self.texts = whitened(self.archive.texts, self.whitening)
        self.served = self._as_text_1_serves()
        fitted = self._on_all_but_the_last()
        self._judge(fitted)
        if not self.verdict.is_good:
            return self._refused(fitted)
        return self._built(self._on_everything(fitted))

    def _as_text_1_serves(self) -> Vectors:
        made = models.live(self.connection, self.site_id).transform(self.archive.texts)
        served: Vectors = made * np.any(self.archive.texts != 0, axis=1, keepdims=True)
        return served

    # training

    def _on_all_but_the_last(self) -> _Fitted:
        """With as many epochs as suit the visits held out; beside it what suits either half of
        them, by which the other half judges."""
        held = self.held
        self.taken = mixture.taken_beside(held.before, held.cut)
        self.start = self._start()
        training = Training(held.before, self.texts, self.settings, self.start)
        self.counts = held.before.counts(held.cut)
        bests = [_Best(), _Best(), _Best()]  # by either half of the visits, and by all of them
        most = min(GOING_ON, self.settings.epochs) if self.start else self.settings.epochs
        began = time.monotonic()
        for epoch in range(1, most + 1):
            training.epoch(partial(self.told, f"epoch {epoch}"))
            fitted = _Fitted(training.network(self.whitening), training.history(), epoch)
            for best, gain in zip(bests, self._gains(fitted), strict=True):
                best.offer(fitted, gain)
            if epoch - bests[-1].made.epochs >= PATIENCE:
                break
            if time.monotonic() - began > self.settings.budget_s:
                break
        *self.by_half, fitted = (
            self._mixed(best.made, asked)
            for best, asked in zip(bests, (held.half(0), held.half(1), held.asked), strict=True)
        )
        self._keep(fitted)
        return fitted

    def _mixed(self, fitted: _Fitted, asked: Sequence[Instances]) -> _Fitted:
        """With the weights beside it that suit these visits."""
        reasons = self._reasons(fitted.network, fitted.vectors(self.texts, self.counts))
        return fitted.mixed(mixture.chosen(reasons, asked, self.archive.available))

    def _start(self) -> tuple[Network, Array] | None:
        """What the last training had learned by its cut. Its texts' whitening comes with it."""
        cut_at = datetime.fromtimestamp(self.held.cut, UTC)
        self.last = checkpoint.last(self.connection, self.site_id, cut_at)
        if self.last is None or ("rotation" in self.last.network.weights) != bool(self.whitening):
            self.last = None
            return None
        self.whitening = {
            name: self.last.network.weights[name] for name in WHITENING if self.whitening
        }
        self.texts = whitened(self.archive.texts, self.whitening)
        return self.last.network, self.last.of(self.archive.product_nos)

    def _keep(self, best: _Fitted) -> None:
        made = Checkpoint(
            datetime.fromtimestamp(self.held.cut, UTC),
            self.last.trainings + 1 if self.last else 1,
            best.network,
            self.archive.product_nos,
            best.history,
        )
        checkpoint.save(self.connection, self.site_id, made)

    def _gains(self, fitted: _Fitted) -> tuple[float, float, float]:
        """Mean NDCG@10 over all k of what the model alone proposes, to four places (less is no
        gain): to either half of the visits, and to all."""
        scores = measure.by_network(fitted.network, fitted.vectors(self.texts, self.counts))
        gains = np.concatenate(
            [measure.lists(scores, one, self.archive.available).gains() for one in self.held.asked]
        )
        half = np.concatenate([one.sessions % 2 for one in self.held.asked])
        return measure.mean(gains[half == 0]), measure.mean(gains[half == 1]), measure.mean(gains)

    def _reasons(self, network: Network, vectors: Array) -> mixture.Told:
        return mixture.told(network, vectors, self.served, self.taken)

    def _on_everything(self, fitted: _Fitted) -> _Fitted:
        """The same with all of it, the last days and hidden products too: one that went on from
        what was judged stayed below one that began where that had begun."""
        training = Training(self.archive.corpus, self.texts, self.settings, self.start)
        for epoch in range(1, fitted.epochs + 1):
            training.epoch(partial(self.told, f"with the last days, epoch {epoch}"))
        network = training.network(self.whitening)
        return _Fitted(network, training.history(), fitted.epochs).mixed(fitted.network.mix)

    # judging

    def _judge(self, fitted: _Fitted) -> None:
        self.told("judging", 0, 1)
        held, servable = self.held, self.archive.available
        shown = gate.crossed(held.asked, [self._scores(one) for one in self.by_half], servable)
        self._judge_untrained(shown)
        self._judge_live(shown)
        drift = gate.drift(_kinds(held.before), _kinds(held.after))
        self.verdict.guard("drift of event types", drift, gate.DRIFT_MOST, most=True)
        self.prices = mixture.prices(
            self._reasons(fitted.network, fitted.vectors(self.texts, self.counts)),
            fitted.network.mix,
            held.asked,
            servable,
            ~held.before.ever(),
        )
        self.told("judging", 1, 1)

    def _scores(self, fitted: _Fitted) -> Scores:
        """As they serve, but nothing lifts new products: by how much they are is the site's
        choice, not the model's merit."""
        reasons = self._reasons(fitted.network, fitted.vectors(self.texts, self.counts))
        return mixture.by_mix(reasons, fitted.network.mix, lift=0.0)

    def _judge_untrained(self, shown: Sequence[Shown]) -> None:
        """Against what is served where nothing was trained."""
        held = self.held
        theirs = stage0.served(self.served, held.before, self.taken, held.cut, lift=0.0)
        tested = gate.trials(shown, theirs, self.archive.available, held.before.ever())
        gate.compare(self.verdict, gate.UNTRAINED, tested, must_win=True)
        if sum(len(one.asked) for one in tested):
            gate.guard(self.verdict, tested, len(self.archive.product_nos))

    def _judge_live(self, shown: Sequence[Shown]) -> None:
        """Against the live version, on visits that it has not seen either."""
        live = learned_models.live(self.connection, self.site_id)
        if live is None:
            return
        until = _until(self.connection, self.site_id, live.model_id)
        reasons = self._reasons(live.network, self._live_vectors(live))
        theirs = mixture.by_mix(reasons, live.network.mix, lift=0.0)
        unseen = [one.since(until) for one in shown]
        tested = gate.trials(unseen, theirs, self.archive.available, self.held.before.ever())
        gate.compare(self.verdict, f"version {live.model_id}", tested, must_win=False)

    def _live_vectors(self, live: Learned) -> Array:
        """The live version's vectors by row; what it has none of is never shown by it."""
        known = learned_models.vectors(
            self.connection, live, [int(one) for one in self.archive.product_nos]
        )
        missing = np.zeros(DIMENSION, np.float32)
        missing[-1] = -1e6
        return np.stack([known.get(int(one), missing) for one in self.archive.product_nos])

    # the version

    def _refused(self, fitted: _Fitted) -> Outcome:
        learned = self._begun(fitted)
        return self._refuse(learned, fitted)

    def _refuse(self, learned: Learned, fitted: _Fitted) -> Outcome:
        record = self._record(fitted)
        row = {"site_id": self.site_id, "model_id": learned.model_id}
        self.connection.execute(SQL.refuse, row | {"record": database.jsonb(record)})
        learned_models.drop_left_over(self.connection, self.site_id)
        return Outcome(learned.model_id, False, record)

    def _begun(self, fitted: _Fitted) -> Learned:
        content = written(fitted.network)
        return learned_models.begin(self.connection, self.site_id, fitted.network, content)

    def _built(self, fitted: _Fitted) -> Outcome:
        learned = self._begun(fitted)
        counts = self.archive.corpus.counts(self.at.timestamp())
        past = np.concatenate(
            [fitted.history, fitted.network.biases(counts)[:, np.newaxis]], axis=1
        )
        rows = np.flatnonzero(self.archive.corpus.ever())
        histories = {int(self.archive.product_nos[row]): past[row] for row in rows}
        products = len(self.archive.product_nos)
        learned = build.fill(
            self.connection,
            learned,
            histories,
            lambda done, _: self.told("vectors", done, products),
        )
        queries = self._queries(fitted, counts)
        learned = build.indexed(self.connection, learned, queries)
        recall = build.recall(self.connection, learned, queries)
        self.verdict.guard("recall@24 of its index", recall, gate.RECALL_LEAST)
        took = build.latency_ms(self.connection, learned.model, queries)
        bar = max(gate.LATENCY_MS, gate.LATENCY_TIMES * self._latency_of_texts())
        self.verdict.guard("ms that half of the searches take", took, bar, most=True)
        if not self.verdict.is_good:
            return self._refuse(learned, fitted)
        return self._promoted(learned, fitted)

    def _latency_of_texts(self) -> float:
        """What the same takes by texts, at the same moment."""
        model = models.live(self.connection, self.site_id)
        there = np.flatnonzero(np.any(self.archive.texts != 0, axis=1))[: build.TIMED]
        queries = model.transform(self.archive.texts[there])
        return build.latency_ms(self.connection, model, queries)

    def _promoted(self, learned: Learned, fitted: _Fitted) -> Outcome:
        record = self._record(fitted)
        if self.scheduled and promote.is_held(self.connection, self.site_id):
            return self._held(learned, record)
        build.ready(self.connection, learned, record)
        promote.promote(self.connection, learned)
        return Outcome(learned.model_id, True, record)

    def _held(self, learned: Learned, record: dict[str, Any]) -> Outcome:
        record |= {"held": HELD}
        build.ready(self.connection, learned, record)
        row = {"site_id": self.site_id, "model_id": learned.model_id}
        self.connection.execute(SQL.rest, row)
        learned_models.drop_left_over(self.connection, self.site_id)
        return Outcome(learned.model_id, False, record)

    def _queries(self, fitted: _Fitted, counts: Array) -> Array:
        """Vectors [n, 65] of visitors as they were in the last days, to measure the table with."""
        vectors = fitted.vectors(self.texts, counts)
        made = [
            fitted.network.visitors(
                vectors[:, :-1][asked.rows], asked.kinds, np.full(len(asked), asked.k)
            )
            for asked in (instances(self.held.after, k) for k in HORIZONS)
            if len(asked)
        ]
        if not made:
            return np.zeros((0, DIMENSION), np.float32)
        found = np.concatenate(made)
        some = found[:: max(1, len(found) // RECALL_QUERIES)][:RECALL_QUERIES]
        return np.concatenate([some, np.ones((len(some), 1), np.float32)], axis=1)

    def _record(self, fitted: _Fitted) -> dict[str, Any]:
        """What a person asks of a version."""
        corpus, archive = self.archive.corpus, self.archive
        return {
            "method": "learned from clicks",
            "from": _told_time(corpus.times.min()),
            "newest": _told_time(corpus.times.max()),
            "until": self.at.isoformat(),
            "held_out_from": _told_time(self.held.cut),
            "sessions": len(corpus),
            "events": corpus.events,
            "products": len(archive.product_nos),
            "products_with_text": int(np.any(archive.texts != 0, axis=1).sum()),
            "products_with_history": int(corpus.ever().sum()),
            "left_out": asdict(archive.left_out),
            "epochs": fitted.epochs,
            "new_products": self.prices,
            "mix": {"model": 1.0, **_told_mix(fitted.network.mix)},
            "went_on_from": self.last.trained_until.isoformat() if self.last else None,
            "seed": self.settings.seed,
            "seconds": round(time.monotonic() - self.began, 1),
            **self.verdict.told(),
        }


def _kinds(corpus: Corpus) -> np.ndarray[Any, Any]:
    return np.bincount(corpus.kinds, minlength=8)


def _until(connection: Connection, site_id: int, model_id: int) -> float:
    """Until when a version was trained, in unix seconds."""
    for one in promote.versions(connection, site_id):
        if one["model_id"] == model_id and "until" in one["record"]:
            return datetime.fromisoformat(one["record"]["until"]).timestamp()
    return 0.0


def _told_mix(mix: Mix) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in mix._asdict().items()}


def _told_time(at: float) -> str:
    return datetime.fromtimestamp(float(at), UTC).isoformat(timespec="seconds")
