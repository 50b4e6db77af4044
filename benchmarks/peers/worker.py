"""Does one peer's work, round after round, as a line on its standard input asks for each.

python -m benchmarks.peers.worker lean:epoch lstm small
"""

import importlib
import json
import os
import sys
import time


def main() -> None:
    name, *arguments = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a peer prints must not be taken for an answer
    module, _, function = name.partition(":")
    work = getattr(importlib.import_module(f"benchmarks.peers.{module}"), function)(*arguments)
    print(json.dumps("ready"), file=answers)
    for _ in sys.stdin:
        start = time.process_time()
        work()
        print(json.dumps(time.process_time() - start), file=answers)


if __name__ == "__main__":
    main()
