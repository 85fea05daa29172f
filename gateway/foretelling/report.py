"""The report of a backtest: one HTML file that needs nothing else, for whoever decides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gateway import learning
from gateway.foretelling import charts
from gateway.foretelling.charts import Series
from ranking.training import judged
from ranking.training.clickstream import Instance
from ranking.training.compare import Compared
from ranking.training.judged import (
    AFTER_EVENTS,
    AGES,
    LATELY,
    NEW,
    OURS,
    TEXT,
    TUNED,
    UNTRAINED,
    Judged,
)

EXAMPLES = {"only ours": 3, "both": 2, "only the other": 1, "neither": 2}
SHOWN = 10
KNOWN = 2  # events, of the sentence that says it all and of the examples
SEED = 0
SURE = 0.05

NAMES = {
    OURS: "Attune",
    UNTRAINED: "Attune without training",
    judged.POPULAR: "Bestsellers of all time",
    LATELY: "Bestsellers of the last 7 days",
    "item-knn": "Bought together (item-kNN)",
    "vmis-knn": "Similar visits (VMIS-kNN)",
    "stan": "Similar visits (STAN)",
    TEXT: "Similar texts",
}
KINDS = {
    OURS: "ours", UNTRAINED: "m7", judged.POPULAR: "m1", LATELY: "m2",
    "item-knn": "m3", "vmis-knn": "m4", "stan": "m5", TEXT: "m6",
}  # fmt: skip
AGE_NAMES = (NEW, *(name for name, _ in AGES))


@dataclass(frozen=True)
class About:
    """What was judged: its name, titles by product id, and sentences that must be said of it."""

    name: str
    titles: Mapping[str, str]
    notes: Sequence[str] = ()


def write(path: Path, found: Judged, about: About, made_at: datetime) -> None:
    """Write the report of what was found to that file."""
    page = _environment().get_template("page.html")
    path.write_text(page.render(**_told(found, about, made_at)), encoding="utf-8")


def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent)
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    made.filters["share"] = lambda value: f"{100 * value:.1f}"
    made.filters["signed"] = lambda value: f"{100 * value:+.1f}"
    made.filters["p"] = chance
    made.filters["settings"] = settings_of
    return made


def _told(found: Judged, about: About, made_at: datetime) -> dict[str, Any]:
    return {
        "about": about,
        "made_at": made_at.strftime("%Y-%m-%d %H:%M UTC"),
        "cut": datetime.fromtimestamp(found.cut, UTC).strftime("%d %B %Y"),
        "instances": {k: len(some) for k, some in found.instances.items()},
        "products": len(found.catalog),
        "new_products": len(found.cold),
        "headline": headline(found),
        "gain": found.compared(OURS, LATELY, ks=(KNOWN,)),
        "best": _best(found, (KNOWN,)),
        "verdicts": list(_verdicts(found)),
        "rows": found.rows(),
        "names": {method: name_of(method) for method in found.lists},
        "kinds": {method: kind_of(method) for method in found.lists},
        "by_k": {
            title: _by_k(found, metric, title)
            for metric, title in (("hit_rate@10", "Found among the first ten"),
                                  ("ndcg@10", "Found near the top (NDCG@10)"))
        },
        "by_warmth": _by_slice(found, found.warmth, ("known products", "new products"),
                               "Known and new products"),
        "by_age": _by_slice(found, found.age, AGE_NAMES, "By the age of the product"),
        "examples": examples(found, about.titles),
        "tuned": [(name_of(one.name), one) for one in found.tuned],
        "trainings": [list(learning.sentences(one, foretold=True)) for one in found.trainings],
        "known": KNOWN,
    }  # fmt: skip


def name_of(method: str) -> str:
    """What a method is called where people read."""
    plain = method.removesuffix(TUNED)
    return NAMES.get(plain, plain) + (", tuned" if plain != method else "")


def kind_of(method: str) -> str:
    plain = method.removesuffix(TUNED)
    return KINDS.get(plain, "m7") + (" tuned" if plain != method else "")


def chance(p: float) -> str:
    """How probable by chance, in words that need no statistics."""
    if p < 0.001:
        return "less than 1 in 1,000"
    return f"about {p:.3f}" if p < 0.1 else f"about {p:.2f}"


def settings_of(method: Any) -> str:
    """A method's settings in words: `neighbours 200, lambda 1 .5`."""
    told = asdict(method)
    return ", ".join(f"{name.replace('_', ' ')} {_value(one)}" for name, one in told.items())


def _value(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value:g}"


# words ------------------------------------------------------------------------------------------


def headline(found: Judged) -> str:
    """What the lists would have been worth, in one or two sentences."""
    for ks in ((KNOWN,), (1,), AFTER_EVENTS):
        one = found.compared(OURS, LATELY, ks=ks)
        if one is not None:
            return _sentence(one, ks, _best(found, ks))
    return "There were too few visits after the cut to say anything."


def _sentence(one: Compared, ks: Sequence[int], best: dict[str, Any] | None) -> str:
    known = {1: "one product", 2: "two products"}.get(ks[0], "some") if len(ks) == 1 else "some"
    said = (
        f"Of 100 visitors who had touched {known}, {100 * one.first:.0f} took something next that "
        f"was among the ten products Attune would have shown; among the ten bestsellers of the "
        f"week before the cut were {100 * one.second:.0f}"
    )
    if best is not None:
        named, theirs = best["name"], 100 * best["compared"].second
        said += f", and among those of the best other method ({named}) {theirs:.0f}"
    said += "."
    if one.low <= 0 <= one.high:
        return f"{said} What it has before the bestsellers may be chance."
    more = "more" if one.difference > 0 else "fewer"
    ends = sorted((abs(100 * one.low), abs(100 * one.high)))
    return (
        f"{said} Attune's are {abs(100 * one.difference):.0f} {more} of every 100 than the "
        f"bestsellers'; allowing for chance, between {ends[0]:.0f} and {ends[1]:.0f} {more}."
    )


def _best(found: Judged, ks: Sequence[int]) -> dict[str, Any] | None:
    """The strongest method that is not ours on these visits, with how ours compares."""
    rivals = [method for method in found.lists if method not in (OURS, UNTRAINED, LATELY)]
    compared = {one: found.compared(OURS, one, ks=ks) for one in rivals}
    known = {name: one for name, one in compared.items() if one is not None}
    if not known:
        return None
    name = max(known, key=lambda one: known[one].second)
    return {"name": name_of(name), "compared": known[name], "verdict": verdict(known[name])}


def verdict(one: Compared) -> str:
    """Better, worse or no telling, by the interval of the difference."""
    if one.low > 0:
        return "better"
    return "worse" if one.high < 0 else "no clear difference"


def _verdicts(found: Judged) -> Iterator[dict[str, Any]]:
    for method in found.lists:
        if method == OURS:
            continue
        hits = found.compared(OURS, method)
        places = found.compared(OURS, method, metric="ndcg@10")
        if hits is not None and places is not None:
            yield {"name": name_of(method), "hits": hits, "places": places, "said": verdict(hits)}


# charts -----------------------------------------------------------------------------------------


def _drawn(found: Judged) -> list[str]:
    """The methods of the charts: of each tuned one only what was tuned."""
    return [one for one in found.lists if one + TUNED not in found.lists]


def _by_k(found: Judged, metric: str, title: str) -> Any:
    rows = {(row["method"], row["k"]): row[metric] for row in found.rows()}
    labels = {k: _events(k) for k in sorted(found.instances)}
    series = [
        Series(
            name_of(method),
            kind_of(method),
            {label: rows[method, k] for k, label in labels.items() if (method, k) in rows},
        )
        for method in _drawn(found)
    ]
    return charts.lines(series, list(labels.values()), title)


def _events(k: int) -> str:
    return "nothing known" if not k else f"{k} event" if k == 1 else f"{k} events"


def _by_slice(found: Judged, of: Any, names: Sequence[str], title: str) -> dict[str, Any]:
    slices = found.sliced(of)
    known = [name for name in names if name in slices]
    series = [
        Series(
            name_of(method),
            kind_of(method),
            {name: slices[name][method] for name in known if method in slices[name]},
        )
        for method in _drawn(found)
    ]
    return {
        "chart": charts.bars(series, known, title),
        "sizes": [(name, int(slices[name]["n"])) for name in known],
    }


# examples ---------------------------------------------------------------------------------------


def examples(found: Judged, titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Visits with our list and the best other one side by side, drawn by lot from each outcome."""
    k = KNOWN if found.instances.get(KNOWN) else 1
    rivals = [m for m in found.lists if m != OURS and k in found.lists[m]]
    if not rivals or not found.instances.get(k):
        return []
    best = max(rivals, key=lambda method: _rate(found, method, k))
    by_outcome: dict[str, list[int]] = {name: [] for name in EXAMPLES}
    for at, instance in enumerate(found.instances[k]):
        ours, other = (instance.target in found.lists[m][k][0][at][:SHOWN] for m in (OURS, best))
        name = ("both" if other else "only ours") if ours else (
            "only the other" if other else "neither")  # fmt: skip
        by_outcome[name].append(at)
    shown = []
    for name, places in by_outcome.items():
        for at in sorted(Random(SEED).sample(places, min(EXAMPLES[name], len(places)))):
            instance = found.instances[k][at]
            methods = dict.fromkeys((OURS, best, LATELY))
            shown.append(
                {
                    "outcome": name,
                    "of": len(places) / len(found.instances[k]),
                    "context": [_title(click.product_id, titles) for click in instance.context],
                    "target": _title(instance.target, titles),
                    "lists": {
                        name_of(m): _list(found.lists[m][k][0][at], instance, titles)
                        for m in methods
                        if m in found.lists
                    },
                }
            )
    return shown


def _rate(found: Judged, method: str, k: int) -> float:
    return float(judged.GAINS["hit_rate@10"](found.instances[k], found.lists[method][k][0]).mean())


def _list(
    ids: Sequence[str], instance: Instance, titles: Mapping[str, str]
) -> list[tuple[str, bool]]:
    return [(_title(one, titles), one == instance.target) for one in ids[:SHOWN]]


def _title(product_id: str, titles: Mapping[str, str]) -> str:
    return titles.get(product_id) or product_id
