"""Do the lists find what people took next? The backtest of Online Retail, where its files lie."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.report import Line, against, at_least, note
from bench.stage import stage
from gateway import backtest
from gateway.importing import files
from gateway.settings import load
from ranking.training import clickstream, judged

FOLDER = Path(__file__).parent.parent.parent / "shared" / "data" / "online-retail"
CUT = datetime(2011, 11, 1, tzinfo=UTC)
# For somebody unknown 7-day popularity's.
BARS = {0: 0.069, 1: 0.307, 2: 0.332, 3: 0.329}
NEW_BARS = {1: 0.30, 2: 0.28, 3: 0.24}  # of products without history, by the same lists
COVERAGE = 0.5


def run() -> Iterator[Line]:
    if not FOLDER.exists():
        note("quality: left out, the Online Retail files are not beside the project")
        return
    items = [item for _, item in files.records(FOLDER / "items.jsonl.gz", "products")]
    clicks = clickstream.clicks(files.records(FOLDER / "events.jsonl.gz", "events"))
    split = clickstream.split(clicks, CUT.timestamp(), forced_cold=True)
    with stage():
        note("quality: playing the archive; a few minutes")
        found = backtest.run(
            load(), items, split, CUT, lambda stage, done, total: None,
            simple=(judged.LATELY, "vmis-knn", "stan-tuned"),
        )  # fmt: skip
    by_method = {(row["method"], row["k"]): row for row in found.rows()}
    for k, bar in BARS.items():
        ours, popular = by_method["attune", k], by_method["popularity-7d", k]
        yield at_least(f"backtest online-retail HR@10, k = {k}", ours["hit_rate@10"], "share", bar)
        if k:
            yield against(
                f"the same against 7-day popularity, k = {k}", ours["hit_rate@10"], "share",
                popular["hit_rate@10"], least=1.0,
            )  # fmt: skip
            yield against(
                f"the same against tuned STAN, k = {k}", ours["hit_rate@10"], "share",
                by_method["stan-tuned", k]["hit_rate@10"], least=1.0,
            )  # fmt: skip
            yield against(
                f"untrained, against VMIS-kNN, k = {k}",
                by_method["attune-untrained", k]["hit_rate@10"], "share",
                by_method["vmis-knn", k]["hit_rate@10"], least=1.0,
            )  # fmt: skip
            yield at_least(
                f"products without history HR@10, k = {k}", ours["cold"]["hit_rate@10"],
                "share", NEW_BARS[k],
            )  # fmt: skip
    covered = by_method["attune", 2]["coverage@20"]
    yield at_least("coverage@20 at k = 2", covered, "share", COVERAGE)
