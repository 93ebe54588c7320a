"""The pages that are rendered from `prism/stages/templates`, all by one set of rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_page(template: str, page: Mapping[str, Any]) -> str:
    """A template's text with the values of a page; a value that is missing is an error, and HTML is escaped.

    Args:
        template: its file's name; one in ``.md.jinja`` is Markdown, which is not escaped and ends with its line end.
    """
    markdown = template.endswith(".md.jinja")
    environment = Environment(
        loader=PackageLoader("prism.stages", "templates"),
        autoescape=not markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=markdown,
    )
    return environment.get_template(template).render(page)
