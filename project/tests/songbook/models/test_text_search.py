"""The marks that end a word: a text and a question about it are separated alike."""

from sqlalchemy.engine import URL

from songbook.models import parse_search
from tests.support.databases import execute
from tests.support.marks import slow


@slow
def test_the_same_marks_separate_the_words_of_a_text_and_of_a_question(database_url: URL) -> None:
    first, last = 32, 0x10FFFF  # text search sees no control characters, and a question has none
    of_texts = execute(
        database_url,
        f"SELECT n FROM generate_series({first}, {last}) AS n"
        " WHERE n NOT BETWEEN 55296 AND 57343 AND search_text('a' || chr(n) || 'b') = 'a b'",
    )

    of_questions = [n for n in range(first, last + 1) if parse_search(f"a{chr(n)}b")[0] == "a b"]
    of_questions.remove(0x7F)
    assert [n for (n,) in of_texts] == of_questions
    assert len(of_questions) > 60
