# SPDX-License-Identifier: Apache-2.0
"""The live page of a cluster in containers, as the host sees it."""

import http.client
import json

from tests.compose.cluster import Cluster
from tests.harness.errors import Violation, expect_in

TIMEOUT_SECONDS = 10
PAGE_SECONDS = 20  # it is a quarter of a second behind the training
HOSTS = ("127.0.0.1", "localhost")  # by which a browser on this machine may call it


def get(address: str, path: str, host: str = HOSTS[0], token: str = "") -> tuple[int, str]:
    """Returns the status and the body of the response to a request for this host name."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    try:
        headers = {"Host": f"{host}:{address.rpartition(':')[2]}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def shows(address: str, host: str, token: str, step: int) -> bool:
    """Whether the page's state has this step of the training and its loss, or a later one."""
    status, body = get(address, "/api/state", host, token)
    if status != 200:
        raise Violation(f"http://{address}/api/state as {host}: expected status 200, got {status}: "
                        f"{body[:200]}")
    state = json.loads(body)
    rows = state["charts"]["training"]["rows"]
    return bool(state["status"]["step"] >= step and rows and rows[-1][1] >= step - 1)


def check_page(address: str, token: str, step: int) -> None:
    """With the token it shows this step of the training, or a later one; without, nothing.

    Throws Violation."""
    for path, host, shown, expected in (("/", HOSTS[0], token, 200),
                                        ("/api/state", HOSTS[0], "", 401),
                                        ("/api/state", HOSTS[0], token[::-1], 401),
                                        ("/api/state", "page.example", token, 421)):
        status, body = get(address, path, host, shown)
        if status != expected:
            raise Violation(f"http://{address}{path} as {host} with the token '{shown}': expected "
                            f"status {expected}, got {status}: {body[:200]}")
    expect_in(get(address, "/")[1], 'name="token"', "the page without a token")
    for host in HOSTS:
        Cluster.wait(lambda: shows(address, host, token, step), f"step {step} at "
                     f"http://{address}/api/state as {host}", PAGE_SECONDS)
