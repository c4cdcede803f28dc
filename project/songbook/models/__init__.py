"""What SQLModel classes are made of: field types, base classes, constraints."""

from songbook.models.bases import (
    Fields,
    Partial,
    Record,
    RecordPublic,
    SoftDelete,
    Timestamps,
    noun_of,
)
from songbook.models.constraints import constrain
from songbook.models.discovery import Family, discover, family
from songbook.models.fields import (
    INT4,
    INT8,
    NO_NUL,
    Characters,
    Flag,
    Integer,
    Text,
    Whole,
    can_be_null,
    kind_of,
    without_nul,
)
from songbook.models.registry import mapped_classes
from songbook.models.tables import (
    living,
    natural_key,
    next_version,
    searched_words,
    table_of,
    unique_fields,
)
from songbook.models.text_search import (
    SEARCH_TEXT,
    SEARCH_TEXT_BODY,
    all_words,
    create_search_text,
    separated,
)
from songbook.models.text_values import text_parser

__all__ = [
    "INT4",
    "INT8",
    "NO_NUL",
    "SEARCH_TEXT",
    "SEARCH_TEXT_BODY",
    "Characters",
    "Family",
    "Fields",
    "Flag",
    "Integer",
    "Partial",
    "Record",
    "RecordPublic",
    "SoftDelete",
    "Text",
    "Timestamps",
    "Whole",
    "all_words",
    "can_be_null",
    "constrain",
    "create_search_text",
    "discover",
    "family",
    "kind_of",
    "living",
    "mapped_classes",
    "natural_key",
    "next_version",
    "noun_of",
    "searched_words",
    "separated",
    "table_of",
    "text_parser",
    "unique_fields",
    "without_nul",
]
