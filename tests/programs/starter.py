"""`starter.py TOKEN`: the tests' process, to be killed. The launcher's fields are JSON on its input.

Says each step: started, supervised, spawned, ready, stopping. The stop never ends: the tree ignores it, and so does the
stop command.
"""

from __future__ import annotations

import asyncio
import json
import sys

from pytest_signalcompat.model import Stop
from pytest_signalcompat.supervisor.client import Launcher, Supervisor
from tests.programs import program, said


def say(step: str) -> None:
    print(step, flush=True)


async def main(launcher: Launcher, token: str) -> None:
    say("started")
    supervisor = await Supervisor.start(launcher)
    say("supervised")
    await supervisor.spawn(program(supervisor, "tree", token), None, {})
    say("spawned")
    await said(supervisor, "leader pid=")
    say("ready")
    await supervisor.deliver(Stop.TERMINATE)
    command = program(supervisor, "tree", token)
    stopping = await supervisor.run(command, None, {}, 300)
    say("stopping")
    await stopping.done


if __name__ == "__main__":
    fields = json.loads(sys.stdin.readline())
    asyncio.run(main(Launcher(**{**fields, "argv": tuple(fields["argv"])}), sys.argv[1]))
