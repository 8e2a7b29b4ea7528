"""A server that Ctrl-C ends as it ends any Python program, and which leaves its semaphores to the resource tracker."""

import multiprocessing
import os
import signal


def main() -> None:
    context = multiprocessing.get_context("spawn")
    if os.fork() == 0:  # a worker that ends without a word, and with it nothing that would unlink what it made
        semaphore = context.Semaphore()
        os._exit(0 if semaphore else 1)
    os.wait()
    signal.raise_signal(signal.SIGINT)


main()
