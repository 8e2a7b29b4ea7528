"""At its stop it starts a helper that outlives it (60 s at most) and inherits its listening socket.

breaks: SC201
posix: SC201 SC202 SC203 SC204 SC207 SC301 SC304 SC310 SC401 SC501 SC701 SC803
windows: SC201 SC202 SC204 SC301 SC304 SC310 SC401 SC501 SC701 SC803 SC901
"""

import subprocess
import sys

from _base import Server, fault, main


class HoldsThePort(Server):
    @fault
    def close_listener(self) -> None:
        sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
        quiet = subprocess.DEVNULL
        number = self.listener.fileno()
        if sys.platform == "win32":
            self.listener.set_inheritable(True)
            only = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [number]})
            flags = subprocess.DETACHED_PROCESS
            subprocess.Popen(sleep, stdout=quiet, stderr=quiet, startupinfo=only, creationflags=flags)
        else:
            subprocess.Popen(sleep, stdout=quiet, stderr=quiet, pass_fds=[number])
        super().close_listener()


if __name__ == "__main__":
    main(HoldsThePort)
