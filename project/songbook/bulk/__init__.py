"""Imports and exports: many rows in one request or response."""

from songbook.bulk.copy import OnConflict as OnConflict
from songbook.bulk.copy import bulk_settings as bulk_settings
from songbook.bulk.copy import copy_out as copy_out
from songbook.bulk.exports import Export as Export
from songbook.bulk.imports import CHUNK as CHUNK
from songbook.bulk.imports import PARSERS as PARSERS
from songbook.bulk.imports import OnError as OnError
from songbook.bulk.imports import checked_report as checked_report
from songbook.bulk.imports import imports_of as imports_of
from songbook.bulk.imports import owner_of_rows as owner_of_rows
from songbook.bulk.imports import store as store
from songbook.bulk.imports import unstored_fields as unstored_fields
from songbook.bulk.parsers import RowParser as RowParser
from songbook.bulk.spool import Spool as Spool
