# SPDX-License-Identifier: Apache-2.0
"""usage: python3 -m tests.hostile.attacks NAME PORT SECONDS [CERTIFICATES]

Prints "ready", and attacks the server at the port of loopback as soon as it is given a line on its
standard input. On SIGTERM it prints how many attempts ended in which way, as JSON, and ends.
"""

import json
import os
import pathlib
import signal
import sys
import threading
import time

from tests.hostile.attacks import ATTACKS, Target


def main() -> None:
    name, port, seconds = sys.argv[1:4]
    certificates = pathlib.Path(sys.argv[4]) if len(sys.argv) > 4 else None
    attack = ATTACKS[name]
    target = Target(int(port), float(seconds), certificates, attack.certificate)

    def report(*_: object) -> None:
        answers = {"seconds": time.monotonic() - began, "answers": dict(target.answers)}
        os.write(1, (json.dumps(answers) + "\n").encode())
        os._exit(0)  # whatever its threads do

    print("ready", flush=True)
    sys.stdin.readline()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, report)
    # The main thread handles signals, also while a call blocks.
    runner = threading.Thread(target=attack.run, args=(target,), daemon=True)
    runner.start()
    while runner.is_alive():
        runner.join(0.05)
    os._exit(3)  # it has failed: an attack ends with its time, which is longer than the training


if __name__ == "__main__":
    main()
