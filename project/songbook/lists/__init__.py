"""A list: its parameters, its statement, its pages."""

from songbook.lists.pages import Page, Top, page_of, top_of
from songbook.lists.selection import Selection

__all__ = [
    "Page",
    "Selection",
    "Top",
    "page_of",
    "top_of",
]
