"""PostgreSQL: one engine, one pool, compiled statements."""

from songbook.db.connect import SilentError as SilentError
from songbook.db.connect import check_database as check_database
from songbook.db.connect import located as located
from songbook.db.connect import opened_database as opened_database
from songbook.db.database import ATTEMPTS as ATTEMPTS
from songbook.db.database import RETRIED as RETRIED
from songbook.db.database import Database as Database
from songbook.db.database import Executor as Executor
from songbook.db.database import SingleStatement as SingleStatement
from songbook.db.database import pause as pause
from songbook.db.pool import GIVEN_UP as GIVEN_UP
from songbook.db.statements import DIALECT as DIALECT
from songbook.db.statements import NOTHING as NOTHING
from songbook.db.statements import SHAPES as SHAPES
from songbook.db.statements import Query as Query
from songbook.db.statements import Statement as Statement
from songbook.db.statements import document as document
from songbook.db.statements import json_of as json_of
from songbook.db.statements import public_columns as public_columns
