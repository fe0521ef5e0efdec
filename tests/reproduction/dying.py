"""Processes of the tests that are killed after a number of calls: a moment that no machine's speed moves."""

import os
import signal
import sys

calls = 0


def after(number: int, of: str | None = None) -> None:
    """SIGKILL to this process at so many calls from here, of the functions of one name if it is given; 0 is never."""

    def count(frame, event, argument):
        global calls
        if (event == "call" and of in (None, frame.f_code.co_name)) or (event == "c_call" and of is None):
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def end() -> int:
    """The number of calls so far; nothing is counted any more."""
    sys.setprofile(None)
    return calls
