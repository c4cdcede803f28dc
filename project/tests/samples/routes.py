"""Routes that are no resource's."""

from songbook.auth import PUBLIC
from songbook.crud import SessionDep
from songbook.http import Router
from tests.samples.resources.books import Book, BookCreate

router = Router(dependencies=[PUBLIC])


@router.get("/")
async def read_index() -> dict[str, str]:
    """Say what is here."""
    return {"message": "Hello World"}


@router.get("/ping")
async def ping() -> dict[str, str]:
    """Answer without asking the database."""
    return {"ping": "pong!"}


@router.post("/by-session")
async def store(body: BookCreate, session: SessionDep) -> int:
    """Store a book by means of a session."""
    session.add(Book.model_validate(body))
    await session.commit()
    return 1
