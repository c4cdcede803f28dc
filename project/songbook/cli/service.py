"""The service that a command line is for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

from songbook.config import Settings, StartError
from songbook.models import Family, family


@dataclass(frozen=True)
class Service:
    """What the commands need to know of a service."""

    settings: type[Settings]

    resources: Callable[[], Mapping[str, ModuleType]]
    """Return the modules of its resources by their names."""

    application: str
    """Where its application is, as `app.main:app`."""

    title: str

    def message(self, text: object) -> str:
        """Return a line of standard error, which begins with the name of the service."""
        return f"{self.title.lower()}: {text}"

    def families(self) -> dict[str, Family]:
        """Return the classes of each resource by its name."""
        return {name: family(module) for name, module in self.resources().items()}

    def family(self, resource: str) -> Family:
        """Return the classes of a resource; raise StartError if there is none of this name."""
        modules = self.resources()
        if resource not in modules:
            raise StartError(f"there is no resource {resource}: there are {', '.join(modules)}.")
        return family(modules[resource])
