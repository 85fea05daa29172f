"""What /openapi.json promises, tried by schemathesis: bodies that fit it and bodies that do not,
single requests and sequences in which one answer's ids are the next request's."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.builders import basic
from tests.conftest import Shop
from tests.hostile.calls import every_call, failures, stocked

pytestmark = pytest.mark.heavy

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
FEW = settings(
    max_examples=15,
    stateful_step_count=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# Of each route one answer that a sequence goes on from: parameter of the next route → where it is.
LINKS: dict[tuple[str, str], dict[tuple[str, str], dict[str, str]]] = {
    ("/v1/products", "post"): {
        ("/v1/products/_status/{task_id}", "get"): {"task_id": "$response.body#/data/task_id"},
        ("/v1/products/{product_id}", "get"): {"product_id": "$request.body#/data/0/product_id"},
        ("/v1/products/{product_id}", "delete"): {"product_id": "$request.body#/data/0/product_id"},
        ("/v1/products/{product_id}", "patch"): {"product_id": "$request.body#/data/0/product_id"},
    },
    ("/v1/users", "post"): {
        ("/v1/users/_status/{task_id}", "get"): {"task_id": "$response.body#/data/task_id"},
        ("/v1/users/{user_id}", "get"): {"user_id": "$request.body#/data/0/user_id"},
        ("/v1/users/{user_id}", "delete"): {"user_id": "$request.body#/data/0/user_id"},
    },
    ("/v1/interactions", "post"): {
        ("/admin/v1/deliveries/{delivery_id}", "get"): {"delivery_id": "$response.body#/task_id"},
        ("/admin/v1/deliveries/{delivery_id}/replay", "post"): {
            "delivery_id": "$response.body#/task_id"
        },
        ("/admin/v1/visitors/{sent_id}", "get"): {"sent_id": "$request.body#/data/0/user_id"},
    },
}


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    found = client.get("/openapi.json").json
    assert found
    return found


@pytest.fixture
def keyed(app: Flask, client: FlaskClient, shop: Shop) -> dict[str, str]:
    stocked(client, shop)
    return {"X-API-KEY": shop.secret_key} | basic(shop.write_key)


def loaded(document: dict[str, Any], app: Flask) -> Any:
    """The document's routes, called without a server in between."""
    schema = schemathesis.openapi.from_dict(document)
    schema.app = app
    return schema


def test_whatever_fits_the_document_or_not_is_answered_as_it_says(
    app: Flask, document: dict[str, Any], keyed: dict[str, str], shop: Shop
) -> None:
    tried = 0
    schema = loaded(document, app)
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in schemathesis.GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)

            @FEW
            @given(case=strategy)
            def check(case: Any) -> None:
                answer = case.call(headers=keyed)
                case.validate_response(answer, checks=CHECKS)

            with contextlib.suppress(Unsatisfiable):  # nothing to get wrong: it takes nothing
                check()
                tried += 1
    assert tried > 50
    assert failures(shop) == 0


def test_each_success_has_the_shape_that_is_promised(
    app: Flask, client: FlaskClient, document: dict[str, Any], shop: Shop
) -> None:
    schema = loaded(document, app)
    seen = []
    for call in every_call(app, shop, stocked(client, shop)):
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", call.rule)
        promised = document["paths"].get(path, {}).get(call.method.lower())
        if promised is None:
            continue
        answer = call.send(client)
        assert str(answer.status_code) in promised["responses"], (call, answer.status_code)
        schema[path][call.method].validate_response(answer)
        seen.append(path)
    assert set(seen) == set(document["paths"])


def test_no_sequence_of_requests_is_a_server_error(
    app: Flask, document: dict[str, Any], keyed: dict[str, str], shop: Shop
) -> None:
    for (path, method), links in LINKS.items():
        operation = document["paths"][path][method]
        operation["responses"]["200"] = {
            "description": "applied",
            "links": {
                f"{target_method} {target}": {
                    "operationRef": f"#/paths/{target.replace('/', '~1')}/{target_method}",
                    "parameters": parameters,
                }
                for (target, target_method), parameters in links.items()
            },
        }
    machine = loaded(document, app).as_state_machine()

    class Sequence(machine):  # type: ignore[misc,valid-type]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": keyed}

        def validate_response(self, response: Any, case: Any, **kwargs: Any) -> None:
            case.validate_response(response, checks=[not_a_server_error])

    Sequence.run(settings=FEW)
    assert failures(shop) == 0
