"""Places of a list that are left to chance, so that products without a history are seen at all.

Pure: `exploring` finds the products, these functions draw. Every draw follows from a seed and the
place, counted over all pages, so that the same seed gives the same list and its pages agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ranking.merchandising import rules

T = TypeVar("T")

# Places that are never left to chance: most of what is looked at and clicked, and what a visitor
# judges a list by.
FIRST = 2
MOST_SHARE = 0.5
# So many of the new products, those that suit best, are drawn from; the one of rank r with a weight
# of 1 / r.
CHOICE = 20


@dataclass(frozen=True, slots=True)
class Exploring:
    """Which share of the free places is left to chance, and what the draws follow from."""

    share: float = 0.0
    seed: str = ""


NOT_EXPLORING = Exploring()


class Drawn(NamedTuple):
    """A place of the page, from 0, what came to stand there, and the probability of that."""

    place: int
    which: int
    chance: float


def places(fixed: Sequence[bool], asked: Exploring, before: int = 0) -> list[int]:
    """Which places of a page are left to chance, each free one by itself with the same
    probability. `fixed` says of each place whether a rule put its product there; `before` so many
    places of the list."""
    return [
        place
        for place in free(fixed, before)
        if rules.chance(asked.seed, f"place {before + place}") < asked.share
    ]


def free(fixed: Sequence[bool], before: int = 0) -> list[int]:
    """The places of a page that may be left to chance."""
    return [
        place for place, is_fixed in enumerate(fixed) if before + place >= FIRST and not is_fixed
    ]


def drawn(places: Sequence[int], of: int, asked: Exploring, before: int = 0) -> list[Drawn]:
    """For each of these places one of so many products (numbers from 0, the best first), none
    twice, with the probability that this place is left to chance and then that product's, given
    what the places before have. Places for which nothing is left are not named."""
    left = list(range(min(of, CHOICE)))
    made = []
    for place in places[: len(left)]:
        weights = [1 / (number + 1) for number in left]
        at = _at(weights, rules.chance(asked.seed, f"product {before + place}"))
        made.append(Drawn(place, left.pop(at), asked.share * weights[at] / sum(weights)))
    return made


def _at(weights: Sequence[float], chance: float) -> int:
    """Which of them lies at that share of their sum."""
    passed, wanted = 0.0, chance * sum(weights)
    for at, weight in enumerate(weights):
        passed += weight
        if wanted < passed:
            return at
    return len(weights) - 1


def inserted(page: Sequence[T], at: dict[int, T], is_fixed: Callable[[T], bool]) -> list[T]:
    """The page with these products at these places, which are free ones. What stood there, and
    behind, moves on to the next free place; a fixed product keeps its own, and the last free ones
    fall off the end."""
    flowing = iter([one for one in page if not is_fixed(one)])
    made = []
    for place, one in enumerate(page):
        if place in at:
            made.append(at[place])
        else:
            made.append(one if is_fixed(one) else next(flowing))
    return made
