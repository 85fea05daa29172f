"""The encoder role with a network that needs no time, but never comes back from one text.

`python -m tests.faults.odd_encoder`; its deadlines are seconds instead of minutes.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence

import numpy as np

from gateway import jobs, tasks
from gateway.telemetry import logs
from ranking.catalog.encoder import DIMENSION, Vectors

ENDLESS = "never comes back"
SECONDS = 4.0
SLICE_S = 0.1


class Odd:
    """Some vectors; a regular expression that runs for ever holds the interpreter, as a library's
    own loop would."""

    def encode(self, texts: Sequence[str]) -> Vectors:
        if any(ENDLESS in text for text in texts):
            re.fullmatch(r"(a+)+b", "a" * 64)
        time.sleep(SLICE_S)  # long enough to be met at work
        made = np.random.default_rng(len(texts)).normal(size=(len(texts), DIMENSION))
        return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    logs.configure("INFO", role="encoder")
    tasks.HUNG_S, tasks.STILL_S = SECONDS, float(sys.argv[1])
    tasks._encoder = Odd  # type: ignore[assignment]
    jobs.PREPARE = {}
    jobs.work("encoder")
