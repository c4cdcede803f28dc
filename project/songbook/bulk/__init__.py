"""Many rows in one body, or in one response."""

from songbook.bulk.copy import OnConflict as OnConflict
from songbook.bulk.copy import bulk_settings as bulk_settings
from songbook.bulk.copy import copy_out as copy_out
from songbook.bulk.exports import Export as Export
from songbook.bulk.imports import FEEDS as FEEDS
from songbook.bulk.imports import PIECE as PIECE
from songbook.bulk.imports import OnError as OnError
from songbook.bulk.imports import imports_of as imports_of
from songbook.bulk.imports import kept as kept
from songbook.bulk.imports import store as store
from songbook.bulk.imports import unstored as unstored
from songbook.bulk.spool import Spool as Spool
