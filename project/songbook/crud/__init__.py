"""Single records: statements, entity tags, responses and transactions."""

from songbook.crud.dependencies import Id as Id
from songbook.crud.dependencies import ReadDep as ReadDep
from songbook.crud.dependencies import path_id as path_id
from songbook.crud.dependencies import record_id as record_id
from songbook.crud.idempotency_table import KEYS as KEYS
from songbook.crud.preconditions import IF_NONE_MATCH as IF_NONE_MATCH
from songbook.crud.preconditions import EntityTags as EntityTags
from songbook.crud.preconditions import IfMatch as IfMatch
from songbook.crud.preconditions import IfNoneMatch as IfNoneMatch
from songbook.crud.preconditions import if_none_match as if_none_match
from songbook.crud.preconditions import read_tags as read_tags
from songbook.crud.preconditions import require_version as require_version
from songbook.crud.preconditions import schema_fingerprint as schema_fingerprint
from songbook.crud.records import Records as Records
from songbook.crud.sessions import SessionDep as SessionDep
from songbook.crud.transactions import Replayed as Replayed
from songbook.crud.transactions import Transaction as Transaction
from songbook.crud.transactions import TransactionDep as TransactionDep
from songbook.crud.transactions import WriteDep as WriteDep
from songbook.crud.transactions import begin_bulk as begin_bulk
from songbook.crud.views import View as View
from songbook.crud.views import expand_parameter as expand_parameter
from songbook.crud.views import fields_parameter as fields_parameter
from songbook.crud.views import parse_expand as parse_expand
from songbook.crud.views import parse_fields as parse_fields
from songbook.crud.views import view_of as view_of
