"""What an error says about a statement: not sent, rolled back, or unknown."""

import asyncpg


def was_not_sent(error: BaseException) -> bool:
    """Return whether asyncpg refused a statement since PostgreSQL is closing the connection.

    The message of the end was read, and the end itself was not yet.
    """
    message = "cannot switch to state"
    return isinstance(error, asyncpg.InternalClientError) and str(error).startswith(message)


def is_outcome_unknown(error: BaseException) -> bool:
    """Return whether a statement that fails so may have been committed nevertheless.

    It was sent, and the connection broke or the driver's timeout struck before the answer. An error
    that PostgreSQL reported is definite, also as the last message of a connection (57P01); 08P01 is
    what PgBouncer says when it lost the connection to PostgreSQL.
    """
    error = getattr(error, "driver_exception", None) or error  # SQLAlchemy's wrap the driver's
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        last_message = error.__cause__
        error = last_message if isinstance(last_message, asyncpg.PostgresError) else error
    if isinstance(error, asyncpg.PostgresError):
        return isinstance(error, asyncpg.ProtocolViolationError) or not error.severity
    if isinstance(error, asyncpg.InternalClientError):
        return not was_not_sent(error)
    return isinstance(error, OSError)  # also TimeoutError
