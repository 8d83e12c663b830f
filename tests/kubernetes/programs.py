# SPDX-License-Identifier: Apache-2.0
"""The programs of Kubernetes, built from their published Go modules into a cache outside the project.

Debian 12 has no Kubernetes. The Go module proxy's checksums are verified by go (sum.golang.org).
"""

import json
import os
import pathlib
import re
import shutil
from collections.abc import Callable

from tests.harness.commands import Word, run
from tests.harness.errors import Failure

VERSION = "1.34.4"
COREDNS = ("github.com/coredns/coredns", "v1.12.4")
KUSTOMIZE = "v5.7.1"  # that of kubectl 1.34
OPERATOR = "v0.85.0"  # of Prometheus, whose ServiceMonitor overlays/monitoring has
MODULE = "k8s.io/kubernetes"
PROGRAMS = ("kubectl", "kubelet", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
GO_PLACES = (pathlib.Path("/usr/local/go/bin"), pathlib.Path("/usr/lib/go/bin"))
OLDEST_GO = (1, 24)
NICE = ("nice", "-n", "10")
# CoreDNS with the plugins of node.COREFILE alone: those of cloud providers take longer than all else.
DNS_SERVER = """package main

import (
    "github.com/coredns/coredns/core/dnsserver"
    "github.com/coredns/coredns/coremain"
    _ "github.com/coredns/coredns/plugin/bind"
    _ "github.com/coredns/coredns/plugin/errors"
    _ "github.com/coredns/coredns/plugin/kubernetes"
)

func init() { dnsserver.Directives = []string{"bind", "errors", "kubernetes"} }

func main() { coremain.Run() }
"""


def cache() -> pathlib.Path:
    """The folder of what is built, which later runs find again."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "percentdelta"


class Go:
    """Go's command line. Throws Failure if there is none that is new enough."""

    def __init__(self) -> None:
        found = shutil.which("go") or next(
            (str(place / "go") for place in GO_PLACES if (place / "go").is_file()), None)
        if found is None:
            raise Failure("no go on the PATH nor in /usr/local/go: it builds Kubernetes' programs "
                          f"(go {'.'.join(map(str, OLDEST_GO))} or later, https://go.dev/dl)")
        self._go = found
        text = run(found, "env", "GOVERSION")
        version = re.match(r"go(\d+)\.(\d+)", text)
        if version is None or tuple(map(int, version.groups())) < OLDEST_GO:
            raise Failure(f"{found}: expected go {'.'.join(map(str, OLDEST_GO))} or later, got "
                          f"{text.strip()}")

    def run(self, *words: Word, folder: pathlib.Path | None = None,
            target: pathlib.Path | None = None) -> str:
        """Runs go in a folder; `target` is where `go install` puts programs."""
        environment = {"GOFLAGS": "-buildvcs=false -mod=mod" if folder else "-buildvcs=false",
                       "GOWORK": "off"}
        if target is not None:
            environment["GOBIN"] = str(target)
        if folder is None:
            return run(*NICE, self._go, *words, environment=environment)
        return run(*NICE, self._go, "-C", folder, *words, environment=environment)

    def module(self, path: str, version: str) -> pathlib.Path:
        """Downloads a module, if it is not there yet; returns its folder."""
        answer = json.loads(self.run("mod", "download", "-json", f"{path}@{version}"))
        return pathlib.Path(answer["Dir"])


class Programs:
    """Kubernetes' programs and CoreDNS, in the cache."""

    def __init__(self) -> None:
        self.folder = cache() / f"kubernetes-{VERSION}" / "bin"

    @property
    def missing(self) -> list[str]:
        """Names of programs that are not built."""
        return [name for name in (*PROGRAMS, "coredns") if not (self.folder / name).is_file()]

    def __getitem__(self, name: str) -> pathlib.Path:
        return self.folder / name

    def has(self, *names: str) -> bool:
        """Whether these are built."""
        return not set(names) & set(self.missing)

    def build(self, say: Callable[[str], None]) -> None:
        """Builds what is missing: 12 to 30 minutes for all on two cores, and 2 GB of Go's caches."""
        go = Go()
        own = _own_modules(go)
        kubernetes = _write_module(self.folder.parent / "module", own, MODULE, f"v{VERSION}")
        dns = _write_module(self.folder.parent / "coredns", own, *COREDNS)
        (dns / "main.go").write_text(DNS_SERVER, encoding="utf-8")
        stamps = [("k8s.io/component-base/version", "gitVersion", f"v{VERSION}"),
                  ("k8s.io/client-go/pkg/version", "gitVersion", f"v{VERSION}"),
                  ("k8s.io/component-base/version", "gitMajor", VERSION.split(".")[0]),
                  ("k8s.io/component-base/version", "gitMinor", VERSION.split(".")[1])]
        flags = " ".join(["-s -w", *(f"-X {where}.{name}={value}" for where, name, value in stamps)])
        for name in self.missing:
            say(f"building {name}")
            folder, package = kubernetes, f"{MODULE}/cmd/{name}"
            if name == "coredns":
                folder, package = dns, "."
            go.run("build", f"-ldflags={flags}", "-o", self.folder / name, package, folder=folder)


def _own_modules(go: Go) -> str:
    """The lines of go.mod for Kubernetes' libraries. They are published with a version of their own,
    which Kubernetes' go.mod does not name."""
    text = (go.module(MODULE, f"v{VERSION}") / "go.mod").read_text(encoding="utf-8")
    own = sorted(set(re.findall(r"(?m)^\s*(k8s\.io/\S+) v0\.0\.0$", text)))
    if not own:
        raise Failure(f"{MODULE} v{VERSION}: expected modules of version v0.0.0 in its go.mod")
    version = "v0." + VERSION.split(".", 1)[1]
    return "".join(f"replace {name} => {name} {version}\n" for name in own)


def _write_module(folder: pathlib.Path, own: str, path: str, version: str) -> pathlib.Path:
    """Makes a module that requires another one; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text(
        f"module example.test/{folder.name}\n\ngo {'.'.join(map(str, OLDEST_GO))}.0\n\n"
        f"require {path} {version}\n\n{own}", encoding="utf-8")
    return folder


def kustomize(go: Go) -> pathlib.Path:
    """Builds kustomize, if it is not in the cache; returns the program."""
    folder = cache() / f"kustomize-{KUSTOMIZE}"
    program = folder / "kustomize"
    if not program.is_file():
        go.run("install", "-ldflags=-s -w", f"sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE}",
               target=folder)
    return program


def service_monitor() -> pathlib.Path:
    """The definition of Prometheus' ServiceMonitor, from the operator's module or the cache."""
    path = cache() / f"prometheus-operator-{OPERATOR}" / "servicemonitors.yaml"
    if not path.is_file():
        module = Go().module("github.com/prometheus-operator/prometheus-operator", OPERATOR)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((module / "example/prometheus-operator-crd/"
                          "monitoring.coreos.com_servicemonitors.yaml").read_bytes())
    return path
