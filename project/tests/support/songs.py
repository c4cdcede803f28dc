"""Songs, orders and fields of their lists."""

from functools import partial

from app.resources.songs import Song, SongPublic
from songbook.models.tables import table_of
from tests.support import listed

SONGS = listed.rows_by("artist")
SOME_SONGS = listed.some(SONGS)
FIELDS = listed.fields_of(SongPublic)
ORDERS = listed.orders(["name", "artist", "year"]) | listed.orders([*SongPublic.model_fields])

only = partial(listed.only, SongPublic)
lay_out = partial(listed.lay_out, table_of(Song))
