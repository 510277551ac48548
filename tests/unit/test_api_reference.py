"""The API as a page: everything is there, and nothing of it is more than text."""

from __future__ import annotations

import re

from services.api.core.reference import reference

EVIL = "<script>alert(1)</script>'\""


def test_every_route_and_shape_is_there_and_nothing_of_it_is_markup() -> None:
    document = {
        "paths": {
            "/things/{id}": {
                "get": {
                    "tags": ["things"],
                    "description": f"Read one. {EVIL}\n\nMore of it {EVIL}",
                    "parameters": [{"name": EVIL, "in": "path", "required": True, "description": EVIL}],
                    "responses": {
                        "200": {
                            "description": EVIL,
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                        }
                    },
                },
                "put": {
                    "requestBody": {"content": {EVIL: {"schema": {"items": {"$ref": f"#/x/{EVIL}"}}}}},
                    "responses": {},
                },
            }
        },
        "components": {"schemas": {"Thing": {"title": EVIL}, EVIL: {}}},
    }
    page = reference(document)
    assert "GET /things/{id}" in page
    assert "PUT /things/{id}" in page
    assert "<a href='#Thing'>Thing</a>" in page
    assert "<details id='Thing'>" in page
    assert "<script" not in page
    tags = set(re.findall(r"<(/?\w+)", page))
    assert tags <= {
        f"{end}{tag}" for end in ("", "/") for tag in ("p", "a", "h2", "details", "summary", "code", "pre")
    } | {f"{end}{tag}" for end in ("", "/") for tag in ("table", "tr", "td", "ul", "li", "b")}
    assert EVIL not in page
