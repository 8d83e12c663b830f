# SPDX-License-Identifier: Apache-2.0
"""Checks deploy/kubernetes: renders base and overlays, and validates the results.

Where tests/kubernetes/run has built Kubernetes' programs (~/.cache/percentdelta), `kubectl kustomize`
renders, and a real API server validates with --dry-run=server; its warnings are errors, too. Elsewhere
kustomize renders, built by go, and the published schemas of the API validate, without unknown fields.
The last line says which.
"""

import copy
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import yaml

from deploy.project import ROOT
from tests.harness.commands import run
from tests.harness.errors import Failure, Skipped, Violation
from tests.harness.program import make_clock, make_parser, run_program
from tests.kubernetes import rules
from tests.kubernetes.machine import Machine
from tests.kubernetes.node import ApiServer
from tests.kubernetes.programs import KUSTOMIZE, VERSION, Go, Programs, kustomize, service_monitor
from tests.kubernetes.schemas import Schemas

PROGRAM = "tests/kubernetes/check"
MANIFESTS = ROOT / "deploy/kubernetes"
OVERLAYS = ("local-storage", "many-workers", "monitoring")
NEEDED = ("kubectl", "kube-apiserver")

Objects = list[dict[str, Any]]
Validate = Callable[[str, Objects], None]

# An overlay on an overlay, which changes every setting.
CHANGED = """
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [{overlay}]
components: [{settings}]
configMapGenerator:
  - name: settings
    namespace: percentdelta
    behavior: merge
    literals: [{literals}]
"""


class Checks:
    """What is checked, with either way of rendering and validating."""

    def __init__(self, render: Sequence[str], validate: Validate, folder: pathlib.Path) -> None:
        self._render = render
        self._validate = validate
        self._folder = folder

    def all(self) -> None:
        """Checks everything. Throws Violation."""
        rules.check_jobs(MANIFESTS)
        rules.check_names(MANIFESTS)
        secrets = parse(run(MANIFESTS / "make-secrets", self._folder / "certs"))
        self._check("make-secrets", secrets)
        for name in ("base", *(f"overlays/{overlay}" for overlay in OVERLAYS)):
            objects = self.render(MANIFESTS / name)
            rules.check_objects(objects, secrets)
            self._check(name, objects)
        self._check_settings()
        self._check_refusals(self.render(MANIFESTS / "base"))

    def render(self, folder: pathlib.Path) -> Objects:
        """Returns the objects of a folder."""
        return parse(run(*self._render, folder))

    def _check(self, name: str, objects: Objects) -> None:
        self._validate(name, objects)
        print(f"{name}: {len(objects)} objects", flush=True)

    def _check_settings(self) -> None:
        """Every setting arrives, and leaves nothing of its default."""
        folder = self._folder / "changed"
        folder.mkdir()

        def path(name: str) -> str:
            return os.path.relpath(MANIFESTS / name, folder)

        (folder / "kustomization.yaml").write_text(CHANGED.format(
            overlay=path("overlays/local-storage"), settings=path("settings"),
            literals=", ".join(f"{name}={value}" for name, value in rules.CHANGED.items())))
        objects = self.render(folder)
        rules.check_changed(objects)
        self._check("an overlay with other settings", objects)

    def _check_refusals(self, objects: Objects) -> None:
        """The validation finds a misspelt field and a wrong type: this check can fail."""
        for key, value in (("imagePullPolcy", "Always"), ("args", "--shards=2")):
            wrong = copy.deepcopy([each for each in objects if each["kind"] == "StatefulSet"])
            wrong[0]["spec"]["template"]["spec"]["containers"][0][key] = value
            try:
                self._validate("a wrong field", wrong)
            except (Failure, Violation) as refusal:
                if key not in str(refusal):
                    raise
            else:
                raise Violation(f"expected a StatefulSet with {key}: {value} to be refused")


def parse(text: str) -> Objects:
    """The objects of a YAML stream."""
    return [each for each in yaml.safe_load_all(text) if each]


def check_with_server(programs: Programs, folder: pathlib.Path) -> str:
    """Checks with kubectl and a real API server. Returns what validated."""
    run(ROOT / "deploy/install-packages", "kubernetes")
    state = folder / "machine"
    state.mkdir()
    with Machine(state) as machine:
        server = ApiServer(machine, programs, print)
        server.start()
        server.kubectl("apply", "--server-side", "-f", service_monitor())
        server.wait(lambda: server.tries("get", "servicemonitors", "-A"), "the API of ServiceMonitors")
        server.kubectl("apply", "-f", MANIFESTS / "base/namespace.yaml")

        def validate(_: str, objects: Objects) -> None:
            path = folder / "objects.yaml"
            path.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
            server.kubectl("apply", "--server-side", "--dry-run=server", "--warnings-as-errors",
                           "--validate=strict", "-f", path)

        Checks([str(programs["kubectl"]), "kustomize"], validate, folder).all()
    return f"kubectl {VERSION} rendered; an API server {VERSION} validated with --dry-run=server"


def check_with_schemas(folder: pathlib.Path) -> str:
    """Checks with kustomize and schemas. Returns what validated."""
    go = Go()
    schemas = Schemas(go)
    Checks([str(kustomize(go)), "build"], schemas.validate, folder).all()
    return (f"kustomize {KUSTOMIZE} rendered; the API's schemas of {VERSION} validated, because no API "
            "server is built (tests/kubernetes/run --only-build)")


def main() -> int:
    """Returns the exit code: 0 if every check passed."""
    parser = make_parser(PROGRAM, __doc__)
    parser.add_argument("--schemas", action="store_true",
                        help="validate by schemas, also where an API server is built")
    parser.add_argument("--if-possible", action="store_true",
                        help="where go is missing, say so and exit with 0")
    arguments = parser.parse_args()
    say = make_clock()

    def check(folder: pathlib.Path) -> None:
        programs = Programs()
        if programs.has(*NEEDED) and os.geteuid() == 0 and not arguments.schemas:
            what = check_with_server(programs, folder)
        else:
            try:
                what = check_with_schemas(folder)
            except Failure as failure:
                if arguments.if_possible and str(failure).startswith("no go "):
                    raise Skipped(failure) from None
                raise
        say(f"passed: {what}")

    return run_program(PROGRAM, check, kept=("**/*.log", "**/*.yaml"))


if __name__ == "__main__":
    sys.exit(main())
