"""What the document says of fields, parameters and bodies that their authors did not describe."""

from typing import Any

import jsonschema_rs
import pytest
from fastapi import Response
from sqlmodel import Field

from songbook.application import create_app
from songbook.config import Settings
from songbook.models import Schema
from tests.support.openapi import parameters_of, resolved
from tests.support.routes import open_router


class Lamp(Schema):
    """A lamp."""

    name: str = Field(max_length=3)
    code: str = Field(regex="^[A-Z]{2}$", schema_extra={"examples": ["NO"]})
    maker_id: int = Field(foreign_key="maker.id")
    is_lit: bool
    watts: int | None = Field(default=None, ge=1, le=60, description="What it takes.")
    ratio: float = Field(gt=0, lt=1)
    shade: str | None = Field(default=None, regex="^[a-z]+-[0-9]+$")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """Return the document of a service that describes one of its tags."""
    router = open_router()

    @router.post("/lamps", tags=["lamps", "lights"], response_model=Lamp)
    async def light_lamp(body: Lamp, brightness: int = 1) -> Response:
        """Light a lamp."""
        return Response(f"{body}{brightness}")

    tags = [{"name": "lights", "description": "What is lit."}]
    return create_app(Settings(), [router], openapi_tags=tags).openapi()


def fields_sent(document: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas of the fields of the body by name."""
    content = document["paths"]["/lamps"]["post"]["requestBody"]["content"]["application/json"]
    fields: dict[str, Any] = resolved(document, content["schema"])["properties"]
    return fields


def test_a_description_follows_from_the_name_where_there_is_none(document: dict[str, Any]) -> None:
    fields = fields_sent(document)

    assert {name: each["description"] for name, each in fields.items()} == {
        "name": "The name.",
        "code": "The code.",
        "maker_id": "The id of the maker.",
        "is_lit": "Whether it is lit.",
        "watts": "What it takes.",
        "ratio": "The ratio.",
        "shade": "The shade.",
    }
    assert fields["maker_id"]["title"] == "Maker id"
    [brightness] = parameters_of(document, "/lamps", "post")
    assert brightness["description"] == "Brightness."
    assert document["paths"]["/lamps"]["post"]["summary"] == "Light lamp"
    described = {each["name"]: each["description"] for each in document["tags"]}
    assert described["lights"] == "What is lit."
    assert described["lamps"] == f"{(__doc__ or '').partition(chr(10))[0].rstrip('.')}."


def test_a_number_has_a_format_and_limits(document: dict[str, Any]) -> None:
    fields = fields_sent(document)

    identifier, watts = fields["maker_id"], fields["watts"]["anyOf"][0]
    assert (identifier["format"], identifier["minimum"], identifier["maximum"]) == (
        *("int64", 1),
        2**63 - 1,
    )
    assert (watts["format"], watts["minimum"], watts["maximum"]) == ("int32", 1, 60)
    assert fields["ratio"]["format"] == "double"
    assert "default" not in fields["watts"]


def test_an_example_fits_the_limits_and_leaves_out_what_only_an_author_knows(
    document: dict[str, Any],
) -> None:
    content = document["paths"]["/lamps"]["post"]["requestBody"]["content"]["application/json"]

    example = content["example"]

    schema = {**content["schema"], "components": document["components"]}
    jsonschema_rs.validate(schema, example)
    assert Lamp.model_validate(example)
    assert example["code"] == "NO"
    assert "shade" not in example
