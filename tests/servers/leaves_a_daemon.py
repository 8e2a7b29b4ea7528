"""At its stop it starts a daemon that outlives it (60 s at most) outside of its session or console.

breaks: SC201
posix: SC201 SC202 SC203 SC204 SC207 SC301 SC310 SC401 SC501 SC701 SC803
windows: SC201 SC202 SC204 SC301 SC310 SC401 SC501 SC701 SC803 SC901
"""

import subprocess
import sys

from _base import Server, fault, main


class LeavesADaemon(Server):
    @fault
    def say_stopped(self) -> None:
        if sys.platform == "win32":
            sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
            subprocess.Popen(sleep, creationflags=subprocess.DETACHED_PROCESS)
        else:
            subprocess.run(["/bin/sh", "-c", "sleep 60 >/dev/null 2>&1 &"], start_new_session=True)
        super().say_stopped()


if __name__ == "__main__":
    main(LeavesADaemon)
