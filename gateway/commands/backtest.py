"""`backtest`: what a site's own archive says the lists would have been worth."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from gateway import learning
from gateway.commands import console
from gateway.importing import files
from gateway.settings import Settings
from ranking.training import clickstream
from schemas import database

if TYPE_CHECKING:
    from gateway.foretelling.report import About
    from ranking.training.judged import Judged, Told

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
WRITTEN = click.Path(dir_okay=False, writable=True, path_type=Path)
ARCHIVE_NEEDS = "give a SITE, or of an archive --catalog, --events and --cut"
NOT_LIVE = "“Attune” is what a version trained before the cut would have listed, if proved better."
FORCED_COLD = (
    "One product in twenty, chosen by its id, was treated as new: everything known of it before "
    "the cut was put aside, so that new products can be judged."
)
SHOWN = ("hit_rate@10", "hit_rate@20", "mrr@20", "ndcg@10", "coverage@20")


@click.command()
@click.argument("site", required=False)
@click.option("--catalog", type=FILE, help="Products: JSON lines, CSV or Parquet, also gzipped.")
@click.option("--events", type=FILE, multiple=True, help="Events, likewise; may be repeated.")
@click.option("--cut", help="ISO time (UTC): earlier sessions train, others test.")
@click.option("--report", type=WRITTEN, help="Write what was found as a page (HTML) to this file.")
@click.option(
    "--seeds",
    type=click.IntRange(1, 9),
    default=1,
    show_default=True,
    help="Train so many times over, each with other chance; figures are means.",
)
@console.json_option
def backtest(
    site: str | None,
    catalog: Path | None,
    events: tuple[Path, ...],
    cut: str | None,
    report: Path | None,
    seeds: int,
    as_json: bool,
) -> None:
    """Foretell the sessions after a cut from those before it, by ours and by simple methods.

    Of a SITE by its own catalog and events, its last weeks held out; or of an archive in files,
    by --catalog, --events and --cut, whose records are in the common format: product_id, title,
    description, brand, categories, price; and user_id, session_id, ts (unix seconds), type,
    product_id.
    """
    at = _instant(cut) if cut else None
    with console.sentences() as settings, _progress() as told:
        if site is not None:
            _check(not (catalog or events), "give a SITE, or --catalog and --events")
            found, about = _of_site(settings, site, at, told, seeds)
        else:
            _check(bool(catalog and events and at), ARCHIVE_NEEDS)
            assert catalog is not None and at is not None
            found, about = _of_archive(settings, catalog, events, at, told, seeds)
        if report is not None:
            from gateway.foretelling import report as reporting

            reporting.write(report, found, about, datetime.now(UTC))
    if as_json:
        console.show_json(_json(found))
    else:
        _show(found)
        click.echo("\n" + _headline(found))


def _check(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise click.UsageError(otherwise)


def _of_site(
    settings: Settings, name: str, at: datetime | None, told: Told, seeds: int
) -> tuple[Judged, About]:
    from gateway import access
    from gateway.foretelling import own
    from gateway.foretelling.report import About

    with closing(database.connect(settings.database_url)) as connection:
        site_id = access.site(connection, name).site_id
    found = own.run(settings, site_id, at, told, seeds=seeds)
    notes = []
    if found.left_out:
        notes.append(
            f"{found.left_out} times what was taken next can no longer be had; those were left out."
        )
    notes.append(
        f"{NOT_LIVE} {learning.now_live(found.live)} A training at another moment may end "
        "otherwise than the one told of below."
    )
    return found.judged, About(name, found.titles, notes)


def _of_archive(
    settings: Settings,
    catalog: Path,
    events: tuple[Path, ...],
    at: datetime,
    told: Told,
    seeds: int,
) -> tuple[Judged, About]:
    from gateway import backtest as backtesting
    from gateway.foretelling.report import About

    items = [item for _, item in files.records(catalog, "products")]
    has_text = any(item.get("title") for item in items)
    clicks = clickstream.clicks(row for path in events for row in files.records(path, "events"))
    split = clickstream.split(clicks, at.timestamp(), forced_cold=has_text)
    found = backtesting.run(settings, items, split, at, told, seeds=seeds)
    titles = {str(item["product_id"]): item.get("title") or "" for item in items}
    notes = [FORCED_COLD] if has_text else []
    return found, About(catalog.resolve().parent.name, titles, notes)


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no ISO time, e.g. 2011-11-01") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


@contextmanager
def _progress() -> Iterator[Told]:
    """A bar a stage on a terminal's error output, silence elsewhere."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    stages: dict[str, TaskID] = {}

    def told(stage: str, done: int, total: int) -> None:
        if stage not in stages:
            stages[stage] = bars.add_task(stage, total=total)
        bars.update(stages[stage], completed=done, total=total)

    with bars:
        yield told if sys.stderr.isatty() else console.stages()


def _json(found: Judged) -> dict[str, Any]:
    return {
        "results": found.rows(),
        "comparisons": found.comparisons(),
        "tuned": [asdict(one) for one in found.tuned],
        "trainings": list(found.trainings),
    }


def _headline(found: Judged) -> str:
    from gateway.foretelling import report as reporting

    return reporting.headline(found)


def _show(found: Judged) -> None:
    rows = [
        [
            row["method"],
            row["k"],
            row["n"],
            *(f"{row[name]:.3f}" for name in SHOWN),
            f"{row['cold']['hit_rate@10']:.3f}",
        ]
        for row in found.rows()
    ]
    console.show_table(
        ["method", "k", "n", *SHOWN, "cold hit_rate@10"], rows, "there is nothing to foretell"
    )
    for one in found.tuned:
        click.echo(
            f"{one.name} tuned on the last {one.days:g} training days ({one.instances} instances, "
            f"{one.tried} settings): {one.untuned:.3f} -> {one.hit_rate:.3f} with {one.method}"
        )
    for report in found.trainings:
        click.echo("\n".join(learning.sentences(report, foretold=True)))
    compared = [one for one in found.comparisons() if len(one["k"]) > 1]
    columns = ["against", "metric", "theirs", "ours", "difference", "from", "to", "p", "McNemar p"]
    console.show_table(columns, [_compared(one) for one in compared], "there is nothing to compare")


def _compared(one: dict[str, Any]) -> list[str]:
    mcnemar = one["p_mcnemar"]
    return [
        one["against"],
        one["metric"],
        *(f"{one[name]:.4f}" for name in ("second", "first")),
        *(f"{one[name]:+.4f}" for name in ("difference", "low", "high")),
        f"{one['p']:.4f}",
        "" if mcnemar is None else f"{mcnemar:.4f}",
    ]


COMMANDS: list[click.Command] = [backtest]
