"""`/demo`: a small shop in front of `/v1`, to watch a list follow what a visitor does.

The page holds the site's publishable key, as every shop's own pages do, and does nothing that
they could not do. It names no other site: who wants another one must know its name.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, Response, make_response, render_template, request, send_from_directory
from werkzeug.exceptions import NotFound

from gateway import access
from gateway.access import Site
from gateway.http import state
from schemas.database import Connection

DEMO = "demo"
CURRENCY = re.compile(r"[A-Za-z]{3}")
FILES = ("page.css", "page.js", "picture.js")
# Pictures may come from wherever a shop keeps them; everything else only from here.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' https: http: data:; base-uri 'none'; form-action 'none'"
)

blueprint = Blueprint("demo", __name__, template_folder=".")


@blueprint.get("/demo")
def page() -> Response:
    """The page of `?site=`, else of the demo; needs no key, since it hands out a public one."""
    name = request.args.get("site", "").replace("\0", "") or DEMO
    with state.serving().connection() as connection:
        site = _site(connection, name)
        shown = _shown(connection, site) if site else _problem(name)
    response = make_response(render_template("page.html", **shown))
    response.status_code = 200 if site else 404
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/demo/<file>")
def asset(file: str) -> Response:
    """What the page loads; needs no key, it is the same for everybody."""
    if file not in FILES:
        raise NotFound
    response = send_from_directory(blueprint.root_path, file)
    # A module that a server calls text/plain is not run.
    response.mimetype = "text/css" if file.endswith(".css") else "text/javascript"
    response.headers["Cache-Control"] = "no-cache"
    return response


def _site(connection: Connection, name: str) -> Site | None:
    try:
        return access.site(connection, name)
    except access.UnknownSite:
        return None


def _shown(connection: Connection, site: Site) -> dict[str, Any]:
    key = _publishable_key(connection, site)
    problem = None if key else "This site has no publishable key that is valid now."
    return {
        "site": site.name,
        "api_key": key or "",
        "currency": _currency(connection, site),
        "is_demo": site.name == DEMO,
        "problem": problem,
    }


def _problem(name: str) -> dict[str, Any]:
    problem = f"There is no site named {name} here."
    if name == DEMO:
        problem = "The demo site is not loaded: start the gateway with ATTUNE_DEMO=1."
    return {"site": name, "api_key": "", "currency": "", "is_demo": False, "problem": problem}


def _publishable_key(connection: Connection, site: Site) -> str | None:
    """The newest one that a page may use to read lists and send events."""
    needed = {"engine:read", "interactions:write"}
    for row in reversed(access.keys(connection, site)):
        usable = not row["expired"] and needed <= set(row["scopes"])
        if row["kind"] == "publishable" and usable:
            return str(row["key"])
    return None


def _currency(connection: Connection, site: Site) -> str:
    """What a source of the site says its prices are in; nothing where none says it."""
    for row in access.sources(connection, site):
        source = access.source_by_id(connection, site.site_id, row["source_id"])
        currency = str(source.settings.get("currency", "")) if source is not None else ""
        if CURRENCY.fullmatch(currency):  # a browser throws at any other
            return currency
    return ""
