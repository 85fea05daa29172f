"""Does a search find what people took next? Online Retail, where its files lie.

What somebody took next is looked for by the last word of its title, if 8 to 400 titles have that
word, with the k products in view that they saw before; whatever all products with the word rank.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from bench.quality import CUT, FOLDER
from bench.report import Line, against, at_least, known, note
from bench.stage import stage
from gateway import backtest
from gateway.backtest import Scratch
from gateway.importing import files
from gateway.settings import load
from ranking import answer as answering
from ranking.catalog import encoder
from ranking.question import Question, Search
from ranking.training import baselines, clickstream, evaluate
from ranking.training.clickstream import HORIZONS, Instance

FEWEST, MOST = 8, 400  # titles that have a word which is searched for
BARS = {0: 0.37, 1: 0.44}  # NDCG@10
IGNORING, LIFT = 0.353, 1.25  # of a search that knows nothing of the visit, and over it
SATURATION, LENGTHS = 1.2, 0.75  # k1 and b of BM25 (Robertson & Zaragoza 2009)

_WORD = re.compile(r"\w+")


class Looked(NamedTuple):
    """An instance, and what is searched for."""

    instance: Instance
    query: str


def run() -> Iterator[Line]:
    if not FOLDER.exists():
        note("search_quality: left out, the Online Retail files are not beside the project")
        return
    items = [item for _, item in files.records(FOLDER / "items.jsonl.gz", "products")]
    clicks = clickstream.clicks(files.records(FOLDER / "events.jsonl.gz", "events"))
    split = clickstream.split(clicks, CUT.timestamp(), forced_cold=True)
    titles = titles_of(items)
    with stage():
        encoder.Encoder(threads=2).export()
        with backtest.scratch(load(), CUT, split) as site:
            note("search_quality: playing the archive; a few minutes")
            backtest.load(site, items, split, CUT, lambda stage, done, total: None)
            for k in HORIZONS:
                yield from _lines(k, site, titles, looked_for(titles, split.instances(k)))


def _lines(
    k: int, site: Scratch, titles: dict[str, str], asked: Sequence[Looked]
) -> Iterator[Line]:
    words = figures(asked, by_words(titles, asked))
    ours = figures(asked, searched(site, asked, CUT))
    if k in BARS:
        yield at_least(f"search online-retail NDCG@10, k = {k}", ours["ndcg@10"], "share", BARS[k])
    if k == 1:
        ignoring = figures(asked, searched(site, asked, CUT, visit=False))["ndcg@10"]
        title = "search NDCG@10 that ignores the visit, k = 1"
        yield at_least(title, ignoring, "share", IGNORING)
        title = "search NDCG@10 against the same that ignores the visit, k = 1"
        yield against(title, ours["ndcg@10"], "share", ignoring, least=LIFT)
    for figure, title in (("ndcg@10", "NDCG@10"), ("hit_rate@10", "HR@10")):
        yield against(
            f"search {title} against BM25, k = {k}", ours[figure], "share", words[figure], least=1.0
        )
    yield known(f"searches, k = {k}", len(asked), "instances")


# what is asked ----------------------------------------------------------------------------------


def titles_of(items: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The titles by product id."""
    return {str(item["product_id"]): (item.get("title") or "").lower() for item in items}


def looked_for(titles: dict[str, str], instances: Sequence[Instance]) -> list[Looked]:
    """The instances whose target's title ends in a word that neither few nor most titles have."""
    having = Counter(word for title in titles.values() for word in set(_WORD.findall(title)))
    found = []
    for instance in instances:
        words = _WORD.findall(titles.get(instance.target, ""))
        if words and FEWEST <= having[words[-1]] <= MOST:
            found.append(Looked(instance, words[-1]))
    return found


# what answers -----------------------------------------------------------------------------------


def searched(
    site: Scratch, asked: Sequence[Looked], at: datetime, *, visit: bool = True
) -> list[list[str]]:
    """The lists of a search by a stranger of whom only the context is known, or not even that; one
    word that occurs finds no other products by meaning."""
    with site.pool.connection() as connection:
        lists = []
        for one in asked:
            question = Question(
                site_id=site.site_id,
                strategy="search",
                at=at,
                rows=evaluate.LIST_LENGTH + one.instance.k,
                additional=[backtest.event(click, at) for click in one.instance.context if visit],
                search=Search(text=one.query),
            )
            found = answering.answer(connection, question, remember=False)
            ids = [product.product_id for product in found.products]
            lists.append(baselines.without(ids, one.instance))
        return lists


def by_words(titles: dict[str, str], asked: Sequence[Looked]) -> list[list[str]]:
    """BM25 of the titles alone; equal ones in the catalog's order."""
    words = {product_id: _WORD.findall(title) for product_id, title in titles.items()}
    mean = sum(map(len, words.values())) / max(1, len(words))
    having = Counter(word for some in words.values() for word in set(some))

    def score(some: list[str], word: str) -> float:
        times = some.count(word)
        weight = math.log(1 + (len(words) - having[word] + 0.5) / (having[word] + 0.5))
        length = 1 - LENGTHS + LENGTHS * len(some) / mean
        return weight * times * (SATURATION + 1) / (times + SATURATION * length)

    ranked = {
        word: sorted(words, key=lambda one: -score(words[one], word))
        for word in {one.query for one in asked}
    }
    return [baselines.without(ranked[one.query], one.instance) for one in asked]


def figures(asked: Sequence[Looked], lists: Sequence[Sequence[str]]) -> dict[str, Any]:
    """The metrics of the evaluation protocol."""
    instances = [one.instance for one in asked]
    k = instances[0].k if instances else 0
    return evaluate.results("", k, instances, lists, catalog_size=1, cold=frozenset())
