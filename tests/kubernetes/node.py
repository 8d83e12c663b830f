# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes of one node: etcd, API server, controllers, scheduler, containerd, kubelet, CoreDNS."""

import json
import pathlib
import time
from collections.abc import Callable

from tests.harness.commands import Word
from tests.harness.errors import Failure
from tests.harness.processes import Process
from tests.harness.waiting import wait_for
from tests.kubernetes.machine import ADDRESS, BRIDGE, SUBNET, Machine
from tests.kubernetes.programs import Programs

NODE = "node-1"
SANDBOX_IMAGE = "percentdelta.test/pause:test"
PLUGINS = "/usr/lib/cni"  # of Debian's containernetworking-plugins
START_SECONDS = 180  # what takes 5 s on an idle machine

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters:
  - name: test
    cluster: {{server: "https://127.0.0.1:6443", certificate-authority: {folder}/api/apiserver.crt}}
users: [{{name: admin, user: {{token: {token}}}}}]
contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]
current-context: test
"""
# Where root lacks CAP_SYS_RESOURCE, as in many containers and some virtual machines, runc cannot give a
# sandbox the oom_score_adj of -998 that kubelet wants: "can't get final child's PID from pipe: EOF".
# With restrict_oom_score_adj it takes the lowest that is allowed.
CONTAINERD = """
version = 2
root = "{folder}/containerd/root"
state = "/run/containerd"
[grpc]
  address = "/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/network"
"""
KUBELET = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication: {{anonymous: {{enabled: true}}, webhook: {{enabled: false}}}}
authorization: {{mode: AlwaysAllow}}
cgroupDriver: cgroupfs
cgroupRoot: /{group}
clusterDNS: [{address}]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd.sock
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
podLogsDir: {folder}/pod-logs
resolvConf: ""
volumePluginDir: {folder}/kubelet/plugins
"""
COREFILE = """
cluster.local:53 {{
    bind {address}
    errors
    kubernetes cluster.local {{
        kubeconfig {folder}/kubeconfig
        ttl 1
    }}
}}
"""


class ApiServer:
    """etcd and the API server, which need no node: enough to check manifests."""

    def __init__(self, machine: Machine, programs: Programs, say: Callable[[str], None]) -> None:
        self.machine = machine
        self._programs = programs
        self._say = say
        self.processes: dict[str, Process] = {}

    @property
    def folder(self) -> pathlib.Path:
        """Where all state is."""
        return self.machine.folder

    def start(self) -> None:
        """Starts both; returns when the API server is ready."""
        folder = self.folder
        for name in ("etcd", "api"):
            (folder / name).mkdir()
        self.machine.run("openssl", "genrsa", "-out", folder / "accounts.key", "2048")
        self.machine.run("openssl", "rsa", "-in", folder / "accounts.key", "-pubout", "-out",
                         folder / "accounts.pub")
        token = self.machine.run("openssl", "rand", "-hex", "16").strip()
        (folder / "tokens.csv").write_text(f'{token},admin,1,"system:masters"\n')
        self._write("kubeconfig", KUBECONFIG.format(folder=folder, token=token))
        self.launch("etcd", "etcd", f"--data-dir={folder}/etcd", "--unsafe-no-fsync")
        self.launch(
            "kube-apiserver", self._programs["kube-apiserver"],
            "--etcd-servers=http://127.0.0.1:2379", "--bind-address=127.0.0.1",
            f"--advertise-address={ADDRESS}", "--secure-port=6443", f"--cert-dir={folder}/api",
            f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=Node,RBAC",
            "--service-account-issuer=https://kubernetes.test", "--endpoint-reconciler-type=none",
            f"--service-account-signing-key-file={folder}/accounts.key",
            f"--service-account-key-file={folder}/accounts.pub",
            "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged",
            "--kubelet-preferred-address-types=InternalIP")
        began = time.monotonic()
        self.wait(lambda: self.tries("get", "--raw", "/readyz"), "the API server to be ready")
        self._say(f"the API server is ready after {time.monotonic() - began:.0f} s")

    def kubectl(self, *words: Word) -> str:
        """Runs kubectl; returns its standard output."""
        return self.machine.run(self._programs["kubectl"], f"--kubeconfig={self.folder}/kubeconfig",
                                *words)

    def tries(self, *words: Word) -> bool:
        """Whether a kubectl command succeeds."""
        try:
            self.kubectl(*words)
            return True
        except Failure:
            return False

    def launch(self, name: str, *command: Word) -> None:
        """Starts a process of the machine."""
        process = self.processes[name] = self.machine.process(name, *command)
        process.start()

    def wait(self, condition: Callable[[], bool], what: str, limit: float = START_SECONDS) -> None:
        """Waits until the condition holds. Throws Failure when a process has ended, Violation when it
        takes longer than `limit`."""

        def holds() -> bool:
            for process in self.processes.values():
                if not process.runs and not process.down:
                    raise Failure(f"waiting for {what}: {process.name} ended with exit code "
                                  f"{process.exit_code}\n{process.tail()}")
            return condition()

        wait_for(holds, what, limit, lambda: "the processes' logs:\n" + "\n".join(
            process.tail() for process in self.processes.values()))

    def _write(self, name: str, text: str) -> pathlib.Path:
        path = self.folder / name
        path.write_text(text.lstrip(), encoding="utf-8")
        return path


class Node(ApiServer):
    """All of it."""

    def start(self) -> None:
        """Starts everything; returns when the node is ready for pods."""
        super().start()
        folder, programs = self.folder, self._programs
        kubeconfig = f"--kubeconfig={folder}/kubeconfig"
        self.launch("kube-controller-manager", programs["kube-controller-manager"], kubeconfig,
                    f"--service-account-private-key-file={folder}/accounts.key",
                    f"--root-ca-file={folder}/api/apiserver.crt", "--bind-address=127.0.0.1",
                    "--leader-elect=false")
        self.launch("kube-scheduler", programs["kube-scheduler"], kubeconfig,
                    "--bind-address=127.0.0.1", "--leader-elect=false")
        self.launch("coredns", programs["coredns"], "-conf", self._write(
            "Corefile", COREFILE.format(address=ADDRESS, folder=folder)))
        (folder / "network").mkdir()
        self._write("network/10-pods.conflist", json.dumps({
            "cniVersion": "0.4.0", "name": "pods", "plugins": [{
                "type": "bridge", "bridge": BRIDGE, "isGateway": True, "hairpinMode": True,
                "ipam": {"type": "host-local", "dataDir": f"{folder}/network/addresses",
                         "ranges": [[{"subnet": SUBNET}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}))
        self._write("containerd.toml", CONTAINERD.format(
            folder=folder, sandbox=SANDBOX_IMAGE, plugins=PLUGINS))
        self._write("kubelet.yaml", KUBELET.format(
            folder=folder, group=self.machine.group, address=ADDRESS))
        self.start_containers()

    def start_containers(self) -> None:
        """Starts what runs pods: containerd and kubelet."""
        folder = self.folder
        self.launch("containerd", "containerd", "--config", folder / "containerd.toml")
        self.wait(self.ctr_answers, "containerd to answer")
        began = time.monotonic()
        self.launch("kubelet", self._programs["kubelet"], f"--config={folder}/kubelet.yaml",
                    f"--kubeconfig={folder}/kubeconfig", f"--hostname-override={NODE}",
                    f"--root-dir={folder}/kubelet", f"--node-ip={ADDRESS}", "--v=2")
        self.wait(self._is_ready, "the node to be ready")
        self._say(f"the node is ready after {time.monotonic() - began:.0f} s")

    def crash(self) -> None:
        """Kills what runs pods, and the pods, as if the node lost its power."""
        for name in ("kubelet", "containerd"):
            self.processes[name].kill()
        self.machine.run("pkill", "-KILL", "containerd-shim")
        self.machine.kill_group()

    def import_images(self, archive: pathlib.Path) -> None:
        """Gives containerd the images of `docker save`."""
        self.machine.run(*self._ctr(), "images", "import", archive)

    def ctr_answers(self) -> bool:
        """Whether containerd answers."""
        try:
            self.machine.run(*self._ctr(), "version")
            return True
        except Failure:
            return False

    @staticmethod
    def _ctr() -> list[str]:
        return ["ctr", "--address", "/run/containerd.sock", "--namespace", "k8s.io"]

    def _is_ready(self) -> bool:
        template = '{.status.conditions[?(@.type=="Ready")].status}'
        try:
            return self.kubectl("get", "node", NODE, "-o", f"jsonpath={template}") == "True"
        except Failure:
            return False
