# SPDX-License-Identifier: Apache-2.0
"""Trains MNIST in a Docker Swarm of one node, disturbs it, and compares the weights.

Makes a stack of deploy/compose/docker-compose.yml with deploy/swarm/make-stack, deploys it for 30 steps
with 2 servers and 2 workers over TLS, scales the workers, kills a server's and a worker's container,
drains the node, removes the stack and deploys it again, updates the workers one after another, and
compares the final weights with pd-local's.

Uses the Docker engine that answers, as a Swarm's manager only meanwhile if it is none; like
tests/compose/run it starts an engine if there is none, and builds the images.
"""

import contextlib
import sys

from deploy.project import ROOT
from tests.compose.main import COMPOSE
from tests.compose.runner import Part, Preparation, make_parser, run_parts
from tests.harness.commands import run
from tests.harness.errors import Failure, Violation
from tests.swarm.scenario import STEPS, Scenario
from tests.swarm.stack import Stack, swarm_of


def test_swarm(prepared: Preparation) -> None:
    """The stack of make-stack."""
    run(ROOT / "deploy/install-packages", "swarm")
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(swarm_of(prepared.engine))
        tested = Stack(prepared.engine, prepared.project.binaries, prepared.project.image, prepared.job,
                       prepared.folder)
        stack.callback(tested.abandon)
        try:
            Scenario(tested, node, prepared.expected, prepared.say).run()
        except (Failure, Violation) as error:
            sys.stderr.write(tested.look_at_logs())
            raise type(error)(f"{error}\npdctl status: {tested.look() or 'no answer'}") from None


SWARM = Part("swarm", STEPS, test_swarm)


def main() -> int:
    """Returns the exit code: 0 if every check passed."""
    program = "tests/swarm/run"
    parser = make_parser(program, __doc__)
    parser.add_argument("--with-compose", action="store_true",
                        help="first all of tests/compose/run, on the same engine with the same images")
    arguments = parser.parse_args()
    return run_parts(program, [COMPOSE, SWARM] if arguments.with_compose else [SWARM], arguments)
