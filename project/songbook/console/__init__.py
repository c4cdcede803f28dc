"""The console: a page in which people find, change and import records by the REST API."""

from songbook.console.routes import add_console as add_console
