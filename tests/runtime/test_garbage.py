import subprocess
import sys

SHOWS_WHAT_IS_COLLECTED_AT_THE_END = """
from rnnflow.runtime import garbage

class Cycle:
    def __init__(self):
        self.own = self

    def __del__(self):
        print("collected")

if {seldom}:
    garbage.collect_seldom()
keeps = Cycle()
"""


def printed(seldom: bool) -> str:
    code = SHOWS_WHAT_IS_COLLECTED_AT_THE_END.format(seldom=seldom)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_a_process_that_collects_seldom_looks_for_no_garbage_when_it_ends() -> None:
    assert printed(seldom=False) == "collected\n"
    assert not printed(seldom=True)
