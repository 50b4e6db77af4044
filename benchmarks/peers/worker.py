"""Does one peer's work, round after round, as a line on its standard input asks for each.

python -m benchmarks.peers.worker lean:epoch lstm small
"""

import importlib
import json
import os
import sys
import time

TURN_SECONDS = 0.02
"""Work that is done sooner is done several times in a row, as in a training: whoever ran before has emptied the caches."""


def main() -> None:
    name, *arguments = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a peer prints must not be taken for an answer
    module, _, function = name.partition(":")
    work = getattr(importlib.import_module(f"benchmarks.peers.{module}"), function)(*arguments)
    print(json.dumps("ready"), file=answers)
    for _ in sys.stdin:
        start, seconds, times = time.process_time(), 0.0, 0
        while seconds < TURN_SECONDS:
            work()
            seconds, times = time.process_time() - start, times + 1
        print(json.dumps(seconds / times), file=answers)


if __name__ == "__main__":
    main()
