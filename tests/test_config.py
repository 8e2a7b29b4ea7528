"""[tool.signalcompat]: every key, every mistake, and what presets fill in."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from pytest_signalcompat import config
from pytest_signalcompat.config import GRACE, check_variables, preset_of, presets, read
from pytest_signalcompat.errors import ConfigError
from pytest_signalcompat.model import Marks, Post, Ready, Routes, Server, Stop, StopCommand
from pytest_signalcompat.tables import ExitsTable, PresetTable, ServerTable, StatusTable, words

SMALLEST = """\
[tool.signalcompat.servers.api]
command = ["server", "{port}"]
"""

EVERYTHING = """\
[project]
name = "app"

[tool.signalcompat]
grace = "docker"
usefixtures = ["database"]
wine-python = "~/wine/python"

[tool.signalcompat.servers.api]
command = ["{python}", "-m", "api", "--port", "{port}", "--workers", "{workers}"]
cwd = "src"
env = { LOG_LEVEL = "info" }
ready = { http = "/healthz", timeout = 5 }
grace = 7.5
drain = 3
workers = 2

[tool.signalcompat.servers.api.routes]
slow = "/slow?s={seconds}"
stream = "/stream?s={seconds}"
post = { path = "/predict", body = "[1]", content-type = "text/plain" }

[tool.signalcompat.servers.api.marks]
started = "^started"
stopped = "^stopped"

[tool.signalcompat.servers.api.exits]
terminate = [0, 143]
quit = [1]
windows = { terminate = [0, 3], interrupt = [0] }

[tool.signalcompat.servers.api.stop]
terminate = { command = ["{python}", "-m", "ctl", "stop"], timeout = 3 }
hangup = { command = ["ctl", "reload"] }

[tool.signalcompat.servers.queue]
command = ["queue-server"]
env = { PORT = "{port}" }
ready = { log = "listening on \\\\d+" }
"""


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "pyproject.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def servers(file: Path, grace: float | None = None) -> dict[str, Server]:
    found = read(file, grace)
    assert found is not None
    return {server.name: server for server in found.servers}


def problems(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(file)
    return caught.value.problems


# ---------------------------------------------------------------- what is read


def test_every_key(write: Write, tmp_path: Path) -> None:
    file = write(EVERYTHING)
    found = read(file)
    assert found is not None
    assert (found.path, found.usefixtures, found.wine_python) == (file, ("database",), "~/wine/python")
    api, queue = found.servers
    assert api == Server(
        name="api",
        command=("{python}", "-m", "api", "--port", "{port}", "--workers", "{workers}"),
        cwd=str((tmp_path / "src").resolve()),
        env={"LOG_LEVEL": "info"},
        ready=Ready(http="/healthz", timeout=5.0),
        routes=Routes(
            slow="/slow?s={seconds}",
            stream="/stream?s={seconds}",
            post=Post(path="/predict", body="[1]", content_type="text/plain"),
        ),
        marks=Marks(started="^started", stopped="^stopped"),
        exits={
            "posix": {Stop.TERMINATE: (0, 143), Stop.QUIT: (1,)},
            "windows": {Stop.TERMINATE: (0, 3), Stop.INTERRUPT: (0,), Stop.QUIT: (1,)},
        },
        stops={
            Stop.TERMINATE: StopCommand(command=("{python}", "-m", "ctl", "stop"), timeout=3.0),
            Stop.HANGUP: StopCommand(command=("ctl", "reload")),
        },
        grace=7.5,
        drain=3.0,
        workers=2,
        source=(str(file), 9),
    )
    assert (queue.ready, queue.grace, queue.source) == (Ready(log=r"listening on \d+"), 10.0, (str(file), 36))


def test_what_a_command_alone_means(write: Write, tmp_path: Path) -> None:
    api = servers(write(SMALLEST))["api"]
    assert (api.ready, api.grace, api.drain, api.workers) == (Ready(tcp=True), GRACE["k8s"], None, 1)
    assert (api.cwd, api.preset, api.stops) == (str(tmp_path.resolve()), None, {})
    assert api.exits == {"posix": {}, "windows": {}}


def test_a_file_without_the_table_is_no_configuration(write: Write) -> None:
    assert read(write("[project]\nname = 'app'\n")) is None
    assert read(write("tool = 3\n")) is None


def test_the_directory_is_relative_to_the_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    file = write(SMALLEST + 'cwd = "../other"\n')
    assert servers(file)["api"].cwd == str((tmp_path.parent / "other").resolve())


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        ('"docker"', 10),
        ('"cloudrun"', 10),
        ('"k8s"', 30),
        ('"systemd"', 90),
        ("4", 4),
        ("2.5", 2.5),
        ('"12"', 12),
        ('"3 s"', 3),
    ],
)
def test_grace(wanted: str, seconds: float, write: Write) -> None:
    assert servers(write(f"{SMALLEST}grace = {wanted}\n"))["api"].grace == seconds


def test_grace_of_the_command_line_goes_before_all(write: Write) -> None:
    assert {server.grace for server in servers(write(EVERYTHING), grace=2.0).values()} == {2.0}


@pytest.mark.parametrize("header", ["servers.api", 'servers."api"', "servers.'api'", "servers.api.marks"])
def test_the_line_of_a_servers_table(header: str, write: Write) -> None:
    text = f"\n[tool.signalcompat.servers.apis]\ncommand = ['x', '{{port}}']\n\n[tool.signalcompat.{header}]\n"
    body = "started = 'x'\n[tool.signalcompat.servers.api]\n" if header.endswith("marks") else ""
    assert servers(write(text + body + "command = ['x', '{port}']\n"))["api"].source[1] == 5  # type: ignore[index]


def test_a_server_written_inline_has_the_first_line(write: Write) -> None:
    file = write("[tool.signalcompat]\nservers = { api = { command = ['x', '{port}'] } }\n")
    assert servers(file)["api"].source == (str(file), 1)


# ---------------------------------------------------------------- mistakes

API = "tool.signalcompat.servers.api"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[tool.signalcompat]\n", ["tool.signalcompat.servers: expected one server or more, found none"]),
        ("tool.signalcompat = 3\n", ["tool.signalcompat: expected a table, found int 3"]),
        (
            "[tool.signalcompat]\nservers = ['api']\n",
            ["tool.signalcompat.servers: expected a table of servers, found list ['api']"],
        ),
        (f"[{API}]\n", [f"{API}.command: missing; expected a list of strings"]),
        (f"[{API}]\ncommand = []\n", [f"{API}.command: expected a program and its arguments, found []"]),
        (
            f"[{API}]\ncommand = 'uvicorn app:app'\n",
            [f"{API}.command: expected a list of strings, found str 'uvicorn app:app'"],
        ),
        (
            f"[{API}]\ncommand = ['server', '--port', '8000']\n",
            [
                f"{API}.command: expected {{port}} in it, or in env: each start uses a fresh port;"
                " found ['server', '--port', '8000']"
            ],
        ),
        (
            f"[{API}]\ncommand = ['server', '{{prot}}', '{{message}}']\n"
            "env = { PORT = '{port}', N = '{worker}' }\n",
            [
                f"{API}.command: unknown placeholder {{prot}}; expected {{port}}",
                f"{API}.env.N: unknown placeholder {{worker}}; expected {{workers}}",
            ],
        ),
        (SMALLEST + "gracee = 3\n", [f"{API}.gracee: unknown key; expected 'grace'"]),
        (
            SMALLEST + "zzz = 3\n",
            [
                f"{API}.zzz: unknown key; expected one of command, cwd, env, ready, routes, marks, drain,"
                " workers, preset, exits, stop, grace"
            ],
        ),
        (
            SMALLEST + "grace = 'fortnight'\n",
            [f"{API}.grace: expected seconds or one of docker, cloudrun, k8s, systemd, found 'fortnight'"],
        ),
        (
            SMALLEST + "grace = 0\n",
            [f"{API}.grace: expected seconds or one of docker, cloudrun, k8s, systemd, found 0"],
        ),
        (SMALLEST + "grace = true\n", [f"{API}.grace: expected a number or a string, found bool True"]),
        (SMALLEST + "drain = '3'\n", [f"{API}.drain: expected a number, found str '3'"]),
        (SMALLEST + "drain = -1\n", [f"{API}.drain: expected more than 0 seconds, found -1"]),
        (SMALLEST + "drain = nan\n", [f"{API}.drain: expected more than 0 seconds, found nan"]),
        (SMALLEST + "workers = 0\n", [f"{API}.workers: expected 1 or more, found 0"]),
        (SMALLEST + "workers = 1.5\n", [f"{API}.workers: expected an integer, found float 1.5"]),
        (SMALLEST + "env = { PORT = 1 }\n", [f"{API}.env.PORT: expected a string, found int 1"]),
        (SMALLEST + "ready = '/health'\n", [f"{API}.ready: expected a table, found str '/health'"]),
        (SMALLEST + "ready = {}\n", [f"{API}.ready: expected one of http, tcp, log, found none of them"]),
        (
            SMALLEST + "ready = { http = '/health', tcp = true }\n",
            [f"{API}.ready: expected one of http, tcp, log, found http and tcp"],
        ),
        (
            SMALLEST + "ready = { http = 'health' }\n",
            [f"{API}.ready.http: expected a path that begins with /, found 'health'"],
        ),
        (
            SMALLEST + "ready = { http = '/health check' }\n",
            [
                f"{API}.ready.http: expected a path of ASCII letters and signs without spaces, as '/health%20check' is;"
                " found '/health check'"
            ],
        ),
        (
            SMALLEST + "routes = { slow = 'slow?s={seconds}', stream = '/é?s={seconds}', post = { path = 'x' } }\n",
            [
                f"{API}.routes.slow: expected a path that begins with /, found 'slow?s={{seconds}}'",
                f"{API}.routes.stream: expected a path of ASCII letters and signs without spaces, as"
                " '/%C3%A9?s={seconds}' is; found '/é?s={seconds}'",
                f"{API}.routes.post.path: expected a path that begins with /, found 'x'",
            ],
        ),
        (SMALLEST + "routes = { post = { body = '1' } }\n", [f"{API}.routes.post.path: missing; expected a string"]),
        (
            SMALLEST + "exits = { windows = { quit = 0 } }\n",
            [f"{API}.exits.windows.quit: expected a list of integers, found int 0"],
        ),
        (
            SMALLEST + "stop = { terminate = { command = [] } }\n",
            [f"{API}.stop.terminate.command: expected a program and its arguments, found []"],
        ),
        (
            SMALLEST + "stop = { kill = {} }\n",
            [f"{API}.stop.kill: unknown key; expected one of terminate, interrupt, quit, hangup"],
        ),
    ],
)
def test_a_mistake_names_key_expected_and_found(text: str, expected: list[str], write: Write) -> None:
    assert problems(write(text)) == [f"pyproject.toml: {line}" for line in expected]


@pytest.mark.parametrize("key", ["marks = { started = '%s' }", "marks = { stopped = '%s' }", "ready = { log = '%s' }"])
def test_a_bad_regular_expression(key: str, write: Write) -> None:
    (problem,) = problems(write(SMALLEST + key % "stopped (" + "\n"))
    name = key.replace(" = { ", ".").partition(" =")[0]
    assert problem.startswith(f"pyproject.toml: {API}.{name}: expected a regular expression, found 'stopped (': ")


def test_a_bad_preset_lists_the_known_ones(write: Write) -> None:
    (problem,) = problems(write(SMALLEST + "preset = 'unicorn'\n"))
    assert problem == f"pyproject.toml: {API}.preset: expected one of {', '.join(presets())}, found 'unicorn'"


def test_all_mistakes_are_told_at_once(write: Write) -> None:
    file = write(
        """\
[tool.signalcompat]
grace = "long"
usefixture = ["database"]
[tool.signalcompat.servers.a]
comand = ["server", "{port}"]
drain = "3"
[tool.signalcompat.servers.b]
command = ["server"]
marks = { stopped = "(" }
[tool.signalcompat.servers.c]
command = ["server", "{port}"]
"""
    )
    assert [problem.partition(":")[2].partition(":")[0].strip() for problem in problems(file)] == [
        "tool.signalcompat.usefixture",
        "tool.signalcompat.servers.a.comand",
        "tool.signalcompat.servers.a.command",
        "tool.signalcompat.servers.a.drain",
        "tool.signalcompat.grace",
        "tool.signalcompat.servers.b.command",
        "tool.signalcompat.servers.b.marks.stopped",
    ]


def test_a_file_that_is_no_toml(write: Write) -> None:
    file = write("[tool.signalcompat\n")
    (problem,) = problems(file)
    assert problem.startswith(f"{file}: expected a TOML file, found: ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "missing.toml")
    assert problem == f"{tmp_path / 'missing.toml'}: cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (bool, "true or false"),
        (str | None, "a string"),
        (float | str | None, "a number or a string"),
        (tuple[str, ...], "a list of strings"),
        (tuple[int, ...] | None, "a list of integers"),
        (dict[str, str], "a table of strings"),
        (dict[str, ServerTable], "a table of servers"),
        (tuple[ServerTable, ...], "a list of servers"),
        (Post | None, "a table"),
        (Literal["http", "grpc"] | None, "'http' or 'grpc'"),
    ],
)
def test_a_type_is_told_in_words(kind: Any, said: str) -> None:
    assert words(kind) == said


# ---------------------------------------------------------------- variables


def test_variables_that_refer_to_each_other_in_a_circle_are_told_once_for_each_circle(write: Write) -> None:
    variables = {"A": "{env:B}", "B": "{env:C}", "C": "{env:A}", "D": "{env:E}", "E": "{env:D}", "F": "{env:A}{env:F}"}
    text = ", ".join(f'{name} = "{value}"' for name, value in variables.items())
    expected = f"pyproject.toml: {API}.env: expected variables that do not refer to each other in a circle, found "
    assert problems(write(SMALLEST + f"env = {{ {text} }}\n")) == [
        expected + "A -> B -> C -> A",
        expected + "D -> E -> D",
    ]


def test_each_variable_that_is_not_set_is_told(write: Write) -> None:
    file = write(
        """\
[tool.signalcompat.servers.api]
command = ["{env:PROGRAM}", "{env:PROGRAM}", "{port}", "{env:OWN}", "{env:SET}"]
env = { OWN = "{env:OWN}", PATH = "/opt:{env:PATH}" }
stop = { terminate = { command = ["{env:CTL}", "{pid}"] } }
"""
    )
    found = servers(file)["api"]  # reading alone tells nothing: the server may not be wanted
    with pytest.raises(ConfigError) as caught:
        check_variables([found, Server(name="extra", command=("{env:X}",))], {"SET": "", "PATH": "/bin"})
    here = f"pyproject.toml: {API}"
    assert caught.value.problems == [
        f"{here}.command: expected an environment variable PROGRAM for {{env:PROGRAM}}, found none",
        f"{here}.stop.terminate.command: expected an environment variable CTL for {{env:CTL}}, found none",
        f"{here}.env.OWN: expected an environment variable OWN for {{env:OWN}}, found none",
        "tool.signalcompat.servers.extra.command: expected an environment variable X for {env:X}, found none",
    ]
    check_variables([found], dict.fromkeys(("PROGRAM", "OWN", "SET", "PATH", "CTL"), ""))


def test_a_name_in_another_case_is_left_to_the_start(write: Write) -> None:
    """Only the supervisor knows whether the server's platform tells them apart."""
    found = servers(write(SMALLEST + "env = { HOME = '{env:UserProfile}' }\n"))["api"]
    check_variables([found], {"USERPROFILE": "x"})


# ---------------------------------------------------------------- presets


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("uvicorn", "app:app"), "uvicorn"),
        (("/venv/bin/uvicorn", "app:app"), "uvicorn"),
        (("C:\\venv\\Scripts\\uvicorn.exe", "app:app"), "uvicorn"),
        (("C:\\venv\\Scripts\\uvicorn.EXE", "app:app"), "uvicorn"),
        (("uvicorn.cmd", "app:app"), "uvicorn"),
        (("Uvicorn.Cmd", "app:app"), "uvicorn"),
        (("uvicorn.exe.py", "app:app"), None),
        (("{python}", "-m", "uvicorn", "app:app"), "uvicorn"),
        (("{python}", "-u", "-m", "hypercorn", "app:app"), "hypercorn"),
        (("gunicorn", "app:app"), "gunicorn"),
        (("granian", "app:app"), "granian"),
        (("{python}", "app.py", "uvicorn"), None),
        (("{python}", "-m", "app", "-m", "uvicorn"), None),
        ((), None),
    ],
)
def test_a_command_picks_its_preset(command: tuple[str, ...], name: str | None) -> None:
    assert preset_of(command) == name


def test_presets_say_where_it_was_read_and_have_good_patterns() -> None:
    assert {"uvicorn", "hypercorn", "granian", "gunicorn", "aiohttp", "kserve"} <= presets().keys()
    for name, preset in presets().items():
        assert preset.programs, name
        assert preset.sources, name
        assert all(source.startswith("https://") for source in preset.sources), name
        for mark in (preset.marks.started, preset.marks.stopped):
            re.compile(mark or "")


KNOWN = PresetTable(
    programs=("known",),
    marks=Marks(started="known started", stopped="known stopped"),
    exits=ExitsTable(terminate=(0,), interrupt=(0, 130), windows=StatusTable(terminate=(0, 3))),
)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "presets", lambda: {"known": KNOWN})


@pytest.mark.usefixtures("known")
def test_a_preset_fills_marks_and_exits_of_each_platform(write: Write) -> None:
    found = servers(write(f"[{API}]\ncommand = ['known', '{{port}}']\n"))["api"]
    assert found.preset == "known"
    assert found.marks == Marks(started="known started", stopped="known stopped")
    assert found.exits == {
        "posix": {Stop.TERMINATE: (0,), Stop.INTERRUPT: (0, 130)},
        "windows": {Stop.TERMINATE: (0, 3), Stop.INTERRUPT: (0, 130)},
    }


@pytest.mark.usefixtures("known")
def test_a_preset_may_be_named(write: Write) -> None:
    assert servers(write(SMALLEST + "preset = 'known'\n"))["api"].marks.stopped == "known stopped"


@pytest.mark.usefixtures("known")
def test_what_is_declared_goes_before_the_preset(write: Write) -> None:
    text = (
        SMALLEST
        + "preset = 'known'\nmarks = { stopped = 'own' }\nexits = { terminate = [7], posix = { interrupt = [8] } }\n"
    )
    found = servers(write(text))["api"]
    assert found.marks == Marks(started="known started", stopped="own")
    assert found.exits == {
        "posix": {Stop.TERMINATE: (7,), Stop.INTERRUPT: (8,)},
        "windows": {Stop.TERMINATE: (7,), Stop.INTERRUPT: (0, 130)},
    }


# ---------------------------------------------------------------- no configuration


def test_the_reference_server_is_the_default(tmp_path: Path) -> None:
    pytest.importorskip("reference_server")
    found = config.default(tmp_path, 3.0)
    (reference,) = found.servers
    assert (found.path, reference.name, reference.cwd, reference.grace) == (None, "reference", str(tmp_path), 3.0)


def test_this_projects_own_table_is_the_default_one() -> None:
    """`pytest --signal-compat pyproject.toml`, the first command of README, tests what stands in elsewhere."""
    project = Path(__file__).parent.parent / "pyproject.toml"
    own, default = (tomllib.loads(file.read_text(encoding="utf-8")) for file in (project, config.DEFAULT_FILE))
    assert own["tool"]["signalcompat"] == default["tool"]["signalcompat"]


def test_without_its_packages_the_line_that_installs_them_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "fastapi" else name)
    with pytest.raises(ConfigError, match=r"lacks fastapi; .*pip install 'pytest-signalcompat\[reference\]'"):
        config.default(tmp_path)
