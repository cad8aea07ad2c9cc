"""A child that runs the code it is given, which finds ``say``, and the other arguments in ``given``."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from attnbench.child import voice

__all__ = ["Path", "os", "signal", "subprocess", "threading", "time"]  # for the code

_code, *given, _events = sys.argv[1:]

_say = voice.opened(int(_events))


def say(told):
    _say({"event": "told", "told": told})


exec(_code)
