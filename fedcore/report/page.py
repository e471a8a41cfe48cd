"""A page that needs nothing but itself. It needs jinja2, which comes with ``fedcore[report]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedcore import __version__

if TYPE_CHECKING:
    from fedcore.report.content import Page

__all__ = ["render"]


def render(page: Page) -> str:
    """Return the page as HTML. What it is given is text, whatever is in it."""
    environment = Environment(
        loader=PackageLoader("fedcore.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2").render(page=page, version=__version__)
