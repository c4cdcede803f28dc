"""Add cities, todos and users."""

from collections.abc import Sequence

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision: str = "904e705a20ea"
down_revision: str | None = "5e0b7d93c2f4"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

MARKS = (
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    "\u00a0\u00a1\u00ab\u00b7\u00bb\u00bf\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2022"
    "\u2026\u2039\u203a\u3000\u3001\u3002\u300c\u300d\u300e\u300f\u30fb\uff01\uff08\uff09\uff0c"
    "\uff0e\uff1a\uff1b\uff1f"
)
NAME = "(((username || ' ') || slug) || ' ') || email"
NAMES = f"(((({NAME}) || ' ') || coalesce(first_name, '')) || ' ') || coalesce(last_name, '')"

LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
EMAIL = rf"^[A-Za-z0-9.!#$%&''*+/=?^_`{{|}}~-]+@{LABEL}(\.{LABEL})*$"

# Tokens of before `credentials_changed_at` are good no more, not even when a user who was
# deactivated is active again. A login may store a better hash of the same password: that ends none.
CREDENTIALS = """
CREATE FUNCTION users_credentials() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF current_setting('songbook.rehash', true) IS DISTINCT FROM 'on' THEN
        NEW.credentials_changed_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$
"""
ON_CREDENTIALS = """
CREATE TRIGGER users_credentials BEFORE UPDATE ON users FOR EACH ROW
WHEN (
    NEW.email <> OLD.email
    OR NEW.hashed_password <> OLD.hashed_password
    OR (OLD.is_active AND NOT NEW.is_active)
)
EXECUTE FUNCTION users_credentials()
"""

# Whoever gets an e-mail that another user had is not reached by that one's tokens.
GIVE_UP = """
CREATE FUNCTION users_give_up() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO given_up_email VALUES (sha256(convert_to(lower(OLD.email), 'UTF8')))
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$
"""
ON_GIVE_UP = """
CREATE TRIGGER users_give_up AFTER DELETE OR UPDATE OF email ON users FOR EACH ROW
EXECUTE FUNCTION users_give_up()
"""
TAKE_OVER = """
CREATE FUNCTION users_take_over() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    IF EXISTS (
        SELECT FROM given_up_email WHERE key = sha256(convert_to(lower(NEW.email), 'UTF8'))
    ) THEN
        NEW.credentials_changed_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$
"""
ON_TAKE_OVER = """
CREATE TRIGGER users_take_over BEFORE INSERT ON users FOR EACH ROW
EXECUTE FUNCTION users_take_over()
"""

# One at a time, each seeing what the one before has done: of two superusers who remove each other
# at once, one stays. Locks on the rows of the others would be a deadlock.
SUPERUSER = """
CREATE FUNCTION users_superuser() RETURNS trigger LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock('users'::regclass::oid::bigint);
    IF NOT EXISTS (SELECT FROM users WHERE is_superuser AND is_active) THEN
        RAISE integrity_constraint_violation USING MESSAGE = 'The last superuser cannot be removed';
    END IF;
    RETURN NULL;
END
$$
"""
ON_DELETE = """
CREATE TRIGGER users_superuser_delete AFTER DELETE ON users FOR EACH ROW
WHEN (OLD.is_superuser AND OLD.is_active)
EXECUTE FUNCTION users_superuser()
"""
ON_UPDATE = """
CREATE TRIGGER users_superuser_update AFTER UPDATE ON users FOR EACH ROW
WHEN (OLD.is_superuser AND OLD.is_active AND NOT (NEW.is_superuser AND NEW.is_active))
EXECUTE FUNCTION users_superuser()
"""
TRIGGERS = (
    *(CREDENTIALS, ON_CREDENTIALS, GIVE_UP, ON_GIVE_UP, TAKE_OVER, ON_TAKE_OVER),
    *(SUPERUSER, ON_DELETE, ON_UPDATE),
)


def words(texts: str) -> list[sa.ColumnElement[str]]:
    """Return the words of an expression, as the index of them has it."""
    marks = MARKS.replace("'", "''")
    spaced = f"translate({texts}, '{marks}', '{' ' * len(MARKS)}')"
    return [sa.literal_column(f"to_tsvector('simple'::regconfig, {spaced})")]


def upgrade() -> None:
    """Go to this revision; give up, rather than stop the traffic, when a lock is not to be had."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    add_cities()
    add_todos()
    add_users()


def add_cities() -> None:
    """Create the table of the cities."""
    op.create_table(
        "cities",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("name", sqlmodel.sql.sqltypes.AutoString(length=255), nullable=False),
        sa.Column("population", sa.Integer(), nullable=False),
        sa.CheckConstraint("char_length(name) >= 1", name=op.f("ck_cities_name")),
        sa.CheckConstraint("population >= 0", name=op.f("ck_cities_population")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cities")),
        sa.UniqueConstraint("name", name=op.f("uq_cities_name")),
    )
    op.create_index(op.f("ix_cities_population"), "cities", ["population"])
    op.create_index("ix_cities_words", "cities", words("name"), postgresql_using="gin")


def add_todos() -> None:
    """Create the table of the todos."""
    alive = sa.text("deleted_at IS NULL")
    moment = sqlmodel.sql.sqltypes.UTCDateTime()
    op.create_table(
        "todo",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("deleted_at", moment, nullable=True),
        sa.Column("created_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", moment, server_default=sa.text("now()"), nullable=False),
        sa.Column("content", sqlmodel.sql.sqltypes.AutoString(length=10000), nullable=False),
        sa.CheckConstraint("char_length(content) >= 1", name=op.f("ck_todo_content")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_todo")),
    )
    op.create_index(op.f("ix_todo_created_at"), "todo", ["created_at"], postgresql_where=alive)
    deleted = sa.text("deleted_at IS NOT NULL")
    op.create_index("ix_todo_deleted_at", "todo", ["deleted_at", "id"], postgresql_where=deleted)
    op.create_index(
        "ix_todo_words", "todo", words("content"), postgresql_using="gin", postgresql_where=alive
    )


def add_users() -> None:
    """Create the table of the users, and the triggers that keep what no constraint can."""
    text, moment = sqlmodel.sql.sqltypes.AutoString, sqlmodel.sql.sqltypes.UTCDateTime()
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("username", text(length=150), nullable=False),
        sa.Column("slug", text(length=150), nullable=False),
        sa.Column("email", text(length=254), nullable=False),
        sa.Column("first_name", text(length=255), nullable=True),
        sa.Column("last_name", text(length=255), nullable=True),
        sa.Column("hashed_password", text(length=255), nullable=False),
        sa.Column("is_superuser", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "created_at", moment, server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("credentials_changed_at", moment, nullable=True),
        sa.CheckConstraint(
            f"char_length(email) >= 1 AND email ~ '{EMAIL}'", name=op.f("ck_users_email")
        ),
        sa.CheckConstraint(
            "char_length(slug) >= 1 AND slug ~ '^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$'",
            name=op.f("ck_users_slug"),
        ),
        sa.CheckConstraint(
            "char_length(username) >= 1 AND username ~ '^[A-Za-z0-9][A-Za-z0-9._+-]*$'",
            name=op.f("ck_users_username"),
        ),
        sa.CheckConstraint("char_length(first_name) >= 1", name=op.f("ck_users_first_name")),
        sa.CheckConstraint("char_length(last_name) >= 1", name=op.f("ck_users_last_name")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
    )
    op.create_index("ix_users_words", "users", words(NAMES), postgresql_using="gin")
    for name in ("username", "slug", "email"):
        lowered = sa.literal_column(f"lower({name})")
        op.create_index(f"uq_users_{name}", "users", [lowered], unique=True)
    op.create_table(
        "given_up_email",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_given_up_email")),
    )
    for statement in TRIGGERS:
        op.execute(statement)


def downgrade() -> None:
    """Go back to the revision before."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    for table in ("users", "given_up_email", "todo", "cities"):
        op.drop_table(table)
    for name in ("superuser", "take_over", "give_up", "credentials"):
        op.execute(f"DROP FUNCTION users_{name}")
