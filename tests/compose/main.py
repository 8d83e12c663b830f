# SPDX-License-Identifier: Apache-2.0
"""Trains MNIST with docker-compose on a real Docker engine, disturbs it, and compares the weights.

Builds the images, starts deploy/compose/docker-compose.yml with 2 servers and 2 workers for 60 steps of
MNIST with checkpoints, over TLS, asks for statistics and the live page, renews the certificates, stops
and restarts it, replaces server 1, kills server 0 and everything at once, scales, kills and pauses
workers, and compares the final weights with pd-local's. Then trains another job with a script in Python,
and begins one with plaintext.yml.

Uses the Docker engine that answers; if there is none, installs Debian's and runs its own, as root. Makes
debian:bookworm-slim with debootstrap if it cannot be pulled. Removes at the end what it started and
made; keeps the logs after a failure.

The images' build takes objects from the host's ccache, if its own compiler would make the same
(tests/compose/compiler_cache.py). With --cold it compiles everything.
"""

import contextlib
import sys

from tests.compose.project import Project
from tests.compose.runner import Part, Preparation, make_parser, run_parts
from tests.compose.scenario import STEPS, Scenario, all_checks
from tests.harness.errors import Failure, Violation


def test_compose(prepared: Preparation) -> None:
    """The cluster of docker-compose.yml."""
    project = prepared.project
    project.use_job(prepared.job)
    scenario = Scenario(project, prepared.plain_job, prepared.expected, prepared.say)
    with contextlib.ExitStack() as stack:
        stack.callback(project.abandon)
        try:
            for check in all_checks(scenario):
                check()
        except (Failure, Violation) as error:
            keep_logs(project)
            raise type(error)(f"{error}\npdctl status: {project.look() or 'no answer'}") from None
    print(f"up to the first step  {scenario.first_step_seconds:.0f} s")


COMPOSE = Part("compose", STEPS, test_compose)


def keep_logs(project: Project) -> None:
    """Writes the containers' logs into the test's folder, and their last lines to standard error."""
    try:
        project.compose("logs", "--no-color", log="containers.log")
        sys.stderr.write(project.compose("logs", "--no-color", "--tail=40"))
    except Failure as failure:
        print(f"no logs of the containers: {failure}", file=sys.stderr)


def main() -> int:
    """Returns the exit code: 0 if every check passed."""
    program = "tests/compose/run"
    return run_parts(program, [COMPOSE], make_parser(program, __doc__).parse_args())
