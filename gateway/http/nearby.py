"""Which routes are like one that does not exist: what a 404 says beside "not found"."""

from __future__ import annotations

from collections import defaultdict
from difflib import get_close_matches

from flask import current_app

PREFIXES = ("/v1/", "/admin/v1/")
LONGEST = 100  # characters compared; a comparison costs the product of two lengths
MOST = 3
LIKE = 0.5  # of difflib's ratio


def hint(path: str) -> str:
    """What to say of a path below one of PREFIXES; nothing of others."""
    path += "/"
    asked = next((path.removeprefix(one) for one in PREFIXES if path.startswith(one)), None)
    if asked is None:
        return ""
    known = _routes()
    near = get_close_matches(asked[:LONGEST].rstrip("/"), known, MOST, LIKE)
    names = ", ".join(one for name in near for one in known[name])
    like = f"; like it: {names}" if near else ""
    return f": there is no such route{like}. All are at /docs"


def _routes() -> dict[str, list[str]]:
    """By what follows the prefix: each route as the documents write it, with its methods."""
    methods: dict[tuple[str, str], set[str]] = defaultdict(set)
    for rule in current_app.url_map.iter_rules():
        for prefix in PREFIXES:
            if rule.rule.startswith(prefix) and "<call:" not in rule.rule:
                name = _written(rule.rule.removeprefix(prefix))
                methods[prefix, name] |= (rule.methods or set()) - {"HEAD", "OPTIONS"}
    found: dict[str, list[str]] = defaultdict(list)
    for (prefix, name), those in methods.items():
        found[name].append(f"{'/'.join(sorted(those))} {prefix}{name}")
    return found


def _written(rule: str) -> str:
    """`products/<id:product_id>` as `products/{product_id}`."""
    parts = (part.rpartition(":")[2].removeprefix("<") for part in rule.split("/"))
    return "/".join(
        f"{{{part.removesuffix('>')}}}" if part.endswith(">") else part for part in parts
    )
