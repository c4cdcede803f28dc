"""Addresses of files: `/songs.csv` for the exports and the imports of `/songs` as CSV."""

from collections.abc import Mapping

from starlette.routing import BaseRoute
from starlette.routing import Route as StarletteRoute

from songbook.errors import ImportReport
from songbook.http.media_types import FILE_SUFFIXES, OCTET_STREAM
from songbook.http.routing import Route

_NAMES = {"csv": "CSV", "ndjson": "NDJSON"}


class FileRoute(Route):
    """The exports of a list, or the imports into it, in one format and at a path of its own.

    The Accept header does not matter there, and a body may be of any kind of file: a form of HTML
    cannot send such a body to another site, nor one that has no media type or is `text/plain`.
    """

    def __init__(self, route: Route, media_type: str, noun: str) -> None:
        self.file_type, suffix = media_type, FILE_SUFFIXES[media_type]
        verb, preposition = ("Import", "from") if route.bulk else ("Export", "as")
        super().__init__(
            f"{route.path}.{suffix}",
            endpoint=route.endpoint,
            bulk=route.bulk,
            no_store=route.no_store,
            methods=["POST" if route.bulk else "GET"],
            dependencies=route.dependencies,
            tags=route.tags,
            name=f"{verb.lower()}_{noun}_{suffix}",
            summary=f"{verb} {noun.replace('_', ' ')} {preposition} {_NAMES[suffix]}",
            description=_DESCRIPTIONS[verb],
            response_description="The report of what was stored" if route.bulk else "The file",
            response_model=ImportReport if route.bulk else None,
            status_code=201 if route.bulk else 200,
            deprecated=route.deprecated,
            include_in_schema=route.include_in_schema,
        )

    @property
    def formats(self) -> Mapping[str, str]:
        """The formats of bodies by their media types: that of the file only."""
        found = {each: name for each, name in super().formats.items() if name == self.file_type}
        return found | dict.fromkeys([OCTET_STREAM] if found else [], self.file_type or "")

    @property
    def media_types(self) -> tuple[str, ...]:
        """The media types that the route accepts."""
        return (*self.formats,)


_DESCRIPTIONS = {
    "Export": "All rows of the list as a file, in its order and with its filters.",
    "Import": "Store the rows of a file, all or none of them; the response is a report.",
}


def add_files(routes: list[BaseRoute]) -> None:
    """Add the addresses of the files of lists and imports; a route that exists at one is kept."""
    own = [route for route in routes if isinstance(route, Route) and route.path.strip("/")]
    lists = {route.path: _noun(route) for route in own if not route.bulk and route.file_types}
    for route in own:
        for media_type in route.file_types:
            file = FileRoute(route, media_type, lists.get(route.path, _noun(route)))
            others = [each for each in routes if isinstance(each, StarletteRoute)]
            if not any(_is_at_place_of(file, each) for each in others):
                hiding = (each for each in others if each.path_regex.match(file.path))
                before = next(hiding, None)  # such as `/years/{year}`
                routes.insert(routes.index(before) if before else len(routes), file)


def _noun(route: Route) -> str:
    """Return what the name of a list or of an import says of its rows."""
    return route.name.removeprefix("list_").removeprefix("create_")


def _is_at_place_of(file: Route, other: StarletteRoute) -> bool:
    return other.path == file.path and bool((other.methods or set()) & (file.methods or set()))
