"""PostgreSQL: engine, pool, compiled statements."""

from songbook.db.connect import DatabaseUnreachable as DatabaseUnreachable
from songbook.db.connect import check_database as check_database
from songbook.db.connect import open_database as open_database
from songbook.db.connect import resolve_database as resolve_database
from songbook.db.database import MAX_ATTEMPTS as MAX_ATTEMPTS
from songbook.db.database import RETRYABLE_ERRORS as RETRYABLE_ERRORS
from songbook.db.database import Database as Database
from songbook.db.database import Executor as Executor
from songbook.db.database import SingleStatement as SingleStatement
from songbook.db.database import pause as pause
from songbook.db.outcomes import is_outcome_unknown as is_outcome_unknown
from songbook.db.pool import INVALIDATING_ERRORS as INVALIDATING_ERRORS
from songbook.db.readiness import OK as OK
from songbook.db.readiness import Readiness as Readiness
from songbook.db.revisions import read_revisions as read_revisions
from songbook.db.shares import Shares as Shares
from songbook.db.statements import DIALECT as DIALECT
from songbook.db.statements import MAX_CHILDREN as MAX_CHILDREN
from songbook.db.statements import MAX_STATEMENTS as MAX_STATEMENTS
from songbook.db.statements import NO_ROW as NO_ROW
from songbook.db.statements import BoundStatement as BoundStatement
from songbook.db.statements import CompiledStatement as CompiledStatement
from songbook.db.statements import document as document
from songbook.db.statements import json_columns as json_columns
from songbook.db.statements import related as related
from songbook.db.statements import row_to_json as row_to_json
