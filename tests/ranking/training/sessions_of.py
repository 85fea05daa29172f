"""Small clickstreams, and definitions of methods that are slow and plain."""

from __future__ import annotations

from collections import defaultdict
from math import exp, log, sqrt

from ranking.training.baselines import Stan, VmisKnn
from ranking.training.clickstream import Click

DAY = 86400.0


def clicks(*sessions: str, apart: float = DAY) -> list[Click]:
    """One session a word, one product a letter; a session begins `apart` after the one before."""
    return [
        Click(f"s{number:04}", "", number * apart + place, "click", product)
        for number, session in enumerate(sessions)
        for place, product in enumerate(session)
    ]


def by_session(train: list[Click]) -> list[tuple[str, float]]:
    """Each session's distinct products in order, and its end; oldest first."""
    found: dict[str, list[Click]] = defaultdict(list)
    for click in train:
        found[click.session_id].append(click)
    sessions = [
        ("".join(dict.fromkeys(c.product_id for c in some)), max(c.ts for c in some))
        for some in found.values()
    ]
    return sorted(sessions, key=lambda session: session[1])


def stan(method: Stan, train: list[Click], context: str) -> dict[str, float]:
    """Garg et al., formulas (1) to (4), session by session."""
    sessions = by_session(train)
    newest = sessions[-1][1]
    found = []
    for number, (session, ended) in enumerate(sessions):
        common = [p for p in context if p in session]
        if common:
            weights = (exp((context.index(p) + 1 - len(context)) / method.lambda_1) for p in common)
            likeness = sum(weights) / sqrt(len(context) * len(session))
            likeness *= exp(-(newest - ended) / DAY / method.lambda_2)
            found.append((-likeness, -number, session, common[-1]))
    scores: dict[str, float] = defaultdict(float)
    for likeness, _, session, common in sorted(found)[: method.neighbours]:
        for product in session:
            apart = abs(session.index(product) - session.index(common))
            scores[product] -= likeness * exp(-apart / method.lambda_3)
    return scores


def vmis(method: VmisKnn, train: list[Click], context: str) -> dict[str, float]:
    """Kersbergen et al., algorithm 1, session by session."""
    sessions = by_session(train)
    held = {p: sum(p in s for s, _ in sessions) for s, _ in sessions for p in s}
    found = []
    for number, (session, _) in enumerate(sessions):
        common = [p for p in context if p in session]
        if common:
            likeness = sum((context.index(p) + 1) / len(context) for p in common)
            found.append((-likeness, -number, session, common[-1]))
    scores: dict[str, float] = defaultdict(float)
    for likeness, _, session, common in sorted(found)[: method.neighbours]:
        late = max(0.0, 1 - 0.1 * (len(context) - context.index(common) - 1))
        for product in session:
            rare = log(len(sessions) / held[product]) if method.rarity else 1.0
            scores[product] -= likeness * late * rare
    return scores
