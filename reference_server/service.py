"""The server as a Windows service: `python -m reference_server service install|start|stop|status|remove`.

    install [--start auto|manual] [--log FILE] [-- OPTIONS]    OPTIONS are the server's own, checked now
    start, stop [--limit SECONDS]    wait until it is done, and print the states on the way
    status                           prints the state
    remove                           a service that still runs is gone once it has stopped

each with `--name NAME`. The log is %PROGRAMDATA%\\reference_server\\NAME.log unless `install` says otherwise. What
then runs in the service is service_host.py.

A service runs as another user: LocalSystem, unless `sc.exe config NAME obj= …` says otherwise. What this Python imports
from a virtual environment, a user site or PYTHONPATH is found there, too, since `install` writes those directories into
the command line; whoever may write to them decides what the service runs. Environment variables of the installing user
are not those of the service: give its settings as options.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from reference_server import logs
from reference_server.graceful import EXIT_BAD_SETTING, EXIT_OK, EXIT_START_FAILED, WATCHDOG_SECONDS

EXIT_REFUSED: Final = 1
START_SECONDS: Final = 60.0
# A stop may take this much longer than the drain limit: for cutting requests, and for leaving.
MARGIN_SECONDS: Final = WATCHDOG_SECONDS + 5.0
# How often the service control manager is asked for a state: it tells nobody by itself.
ASK_SECONDS: Final = 0.1

# What a service runs. -P: nothing is imported from the current directory; -S: nor from the site-packages of the Python
# that a virtual environment is made from, unless they are among the roots. PYTHONPATH: for the workers.
BOOT: Final = (
    "import os, site, sys; os.environ['PYTHONPATH'] = sys.argv[1];"
    " [site.addsitedir(root) for root in sys.argv[1].split(os.pathsep) if root];"
    " from reference_server.service_host import host; host(*sys.argv[2:4], sys.argv[4:])"
)

# https://learn.microsoft.com/windows/win32/debug/system-error-codes
NEVER_STARTED: Final = 1077
REFUSALS: Final = {
    5: "access denied; run this as administrator",
    1056: "it is running already",
    1060: "it is not installed",
    1061: "it cannot be asked now, since it is starting or stopping",
    1062: "it is not running",
    1072: "it is being removed, and gone once it has stopped",
    1073: "it is installed already",
}

logger = logging.getLogger("reference_server")


class Refused(Exception):
    """One sentence: what was not done, and why."""


def main(arguments: list[str]) -> int:
    """Gets the whole command line, with `service`. Exit codes: 0, 1 refused, 2 a setting is wrong; start and stop: that
    of the service, 0 if all is well.
    """
    logs.configure()
    if sys.platform == "win32":
        return _obey(arguments[1:])
    else:
        logger.error("service: Windows only; here have systemd or launchd run `python -m reference_server`")
        return EXIT_BAD_SETTING


def _obey(arguments: list[str]) -> int:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    options = arguments[at + 1 :]
    parser = argparse.ArgumentParser("python -m reference_server service", epilog="install: -- OPTIONS of the server")
    parser.add_argument("verb", choices=("install", "start", "stop", "status", "remove"))
    parser.add_argument("--name", default="reference_server", help="name of the service (%(default)s)")
    parser.add_argument("--start", choices=("auto", "manual"), default="auto", help="install: when it is to start")
    parser.add_argument("--log", metavar="FILE", help="install: where the service is to write its log")
    parser.add_argument(
        "--limit",
        type=float,
        help=f"start, stop: how many seconds to wait ({START_SECONDS:g}; for a stop its drain limit and a little more)",
    )
    asked = parser.parse_args(arguments[:at])
    if options and asked.verb != "install":
        parser.error(f"only install takes options of the server; found {' '.join(options)}")
    try:
        match asked.verb:
            case "install":
                return install(asked.name, options, automatic=asked.start == "auto", log=asked.log)
            case "start":
                return start(asked.name, asked.limit)
            case "stop":
                return stop(asked.name, asked.limit)
            case "status":
                return status(asked.name)
            case _:
                return remove(asked.name)
    except Refused as error:
        logger.error("%s", error)
        return EXIT_REFUSED


def install(name: str, options: list[str], *, automatic: bool = True, log: str | None = None) -> int:
    from reference_server import settings as configuration

    try:
        policy = configuration.load(options).policy
    except configuration.BadSettings as error:
        for line in str(error).splitlines():
            logger.error("%s", line)
        return EXIT_BAD_SETTING
    file = os.path.abspath(log or os.path.join(os.environ["PROGRAMDATA"], "reference_server", f"{name}.log"))
    with _manager(name, "CREATE_SERVICE") as (api, manager):
        service = api.CreateService(
            manager,
            name,
            f"Model server ({name})",
            api.SERVICE_ALL_ACCESS,
            api.SERVICE_WIN32_OWN_PROCESS,
            api.SERVICE_AUTO_START if automatic else api.SERVICE_DEMAND_START,
            api.SERVICE_ERROR_NORMAL,
            subprocess.list2cmdline(_command(name, file, options)),
            *(None, False, None, None, None),  # no load order group, no tag, no dependencies, LocalSystem
        )
        seconds = policy.readiness_delay_seconds + policy.drain_seconds + MARGIN_SECONDS
        api.ChangeServiceConfig2(service, api.SERVICE_CONFIG_PRESHUTDOWN_INFO, int(seconds * 1000))
        api.CloseServiceHandle(service)
    logger.info("service %s: installed; its log is %s", name, file)
    return EXIT_OK


def start(name: str, limit: float | None = None) -> int:
    with _service(name) as (api, service):
        api.StartService(service, None)
        code = _follow(name, api, service, api.SERVICE_START_PENDING, START_SECONDS if limit is None else limit)
        if api.QueryServiceStatus(service)[1] == api.SERVICE_RUNNING:
            return EXIT_OK
    logger.error("service %s: it did not start; its log may say why", name)
    return code or EXIT_START_FAILED


def stop(name: str, limit: float | None = None) -> int:
    with _service(name) as (api, service):
        if limit is None:
            limit = api.QueryServiceConfig2(service, api.SERVICE_CONFIG_PRESHUTDOWN_INFO) / 1000
        api.ControlService(service, api.SERVICE_CONTROL_STOP)
        return _follow(name, api, service, api.SERVICE_STOP_PENDING, limit)


def status(name: str) -> int:
    with _service(name, "QUERY_STATUS") as (api, service):
        print(_describe(api, api.QueryServiceStatusEx(service)))
    return EXIT_OK


def remove(name: str) -> int:
    with _service(name) as (api, service):
        api.DeleteService(service)
    logger.info("service %s: removed; its log was left", name)
    return EXIT_OK


@contextlib.contextmanager
def _manager(name: str, rights: str) -> Iterator[tuple[Any, Any]]:
    """pywin32 and a handle to the service control manager; what that refuses is one sentence about the service."""
    try:
        import pywintypes
        import win32service as api
    except ImportError:
        raise Refused("service: needs pywin32 (pip install pywin32)") from None
    try:
        manager = api.OpenSCManager(None, None, getattr(api, f"SC_MANAGER_{rights}"))
        try:
            yield api, manager
        finally:
            api.CloseServiceHandle(manager)
    except pywintypes.error as error:
        reason = REFUSALS.get(error.winerror, f"{error.strerror.rstrip('.')} (error {error.winerror})")
        raise Refused(f"service {name}: {reason}") from None


@contextlib.contextmanager
def _service(name: str, rights: str = "ALL_ACCESS") -> Iterator[tuple[Any, Any]]:
    with _manager(name, "CONNECT") as (api, manager):
        service = api.OpenService(manager, name, getattr(api, f"SERVICE_{rights}"))
        try:
            yield api, service
        finally:
            api.CloseServiceHandle(service)


def _follow(name: str, api: Any, service: Any, pending: int, limit: float) -> int:
    """Prints each state until it is not `pending` any more; returns the exit code that the service reports."""
    end = time.monotonic() + limit
    told = ""
    while True:
        found = api.QueryServiceStatusEx(service)
        text = _describe(api, found)
        if text != told:
            logger.info("service %s: %s", name, text)
            told = text
        if found["CurrentState"] != pending:
            return int(found["ServiceSpecificExitCode"] or found["Win32ExitCode"])
        if time.monotonic() > end:
            raise Refused(f"service {name}: expected to be done within {limit:g} s, still {text}")
        time.sleep(ASK_SECONDS)


def _describe(api: Any, found: dict[str, int]) -> str:
    names = {
        api.SERVICE_STOPPED: "stopped",
        api.SERVICE_START_PENDING: "starting",
        api.SERVICE_STOP_PENDING: "draining",
        api.SERVICE_RUNNING: "running",
    }
    text = names.get(found["CurrentState"], f"in state {found['CurrentState']}")
    code = found["ServiceSpecificExitCode"] or found["Win32ExitCode"]
    if found["CurrentState"] == api.SERVICE_STOPPED:
        return "never started" if code == NEVER_STARTED else f"{text} (exit code {code})" if code else text
    return f"{text} pid={found['ProcessId']}"


def _command(name: str, log: str, options: list[str]) -> list[str]:
    # The base interpreter: a venv's python.exe is a launcher, and the manager expects the process it started.
    python: str = getattr(sys, "_base_executable", sys.executable)
    show = [python, "-I", "-S", "-X", "utf8", "-c", "import sys; print(*sys.path, sep='\\n')"]
    own = subprocess.run(show, stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout.splitlines()
    roots = [root for root in dict.fromkeys(sys.path) if root not in own and os.path.isdir(root)]
    return [python, "-P", "-S", "-c", BOOT, os.pathsep.join(roots), name, log, *options]
