"""`make audit`: the code by bandit, the pinned packages by pip-audit. Says plainly what was looked
at: a package that no database knows of counts as not audited, never as good.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent
PACKAGES = ("schemas", "connectors", "gateway", "ranking")
PINNED = ("requirements.txt", "tests/requirements.txt")
FOUND, NOT_AUDITED = 1, 2


def main() -> int:
    """0: nothing found; 1: something was; 2: no database of weaknesses answered."""
    return max(code(), packages(), key=lambda status: (status == FOUND, status))


def code() -> int:
    print(f"bandit: {', '.join(PACKAGES)}", flush=True)
    command = [BIN / "bandit", "--quiet", "-c", "pyproject.toml", "-r", *PACKAGES]
    # On standard error it wonders about each `nosec` line more than once.
    done = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
    return FOUND if done.returncode else 0


def packages() -> int:
    print(f"pip-audit: {', '.join(PINNED)}", flush=True)
    pins = [word for path in PINNED for word in ("-r", path)]
    done = subprocess.run(
        [BIN / "pip-audit", *pins, "--no-deps", "--disable-pip", "--format", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"NOT AUDITED: pip-audit could not ask its database.\n{done.stderr.strip()[-500:]}")
        return NOT_AUDITED
    return told(found)


def told(found: list[dict[str, object]]) -> int:
    skipped = sorted(str(one["name"]) for one in found if "skip_reason" in one)
    weak = [one for one in found if one.get("vulns")]
    for one in weak:
        print(f"WEAK: {one['name']} {one['version']}: {json.dumps(one['vulns'])}")
    audited = len(found) - len(skipped)
    print(f"{audited} of {len(found)} packages were audited, {len(weak)} have known weaknesses.")
    if skipped:
        print(f"NOT AUDITED, no database told of them: {', '.join(skipped)}")
    if weak:
        return FOUND
    return NOT_AUDITED if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
