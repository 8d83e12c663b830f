# SPDX-License-Identifier: Apache-2.0
"""Asks a server for its services by reflection, and for its health, with raw messages.

    /usr/bin/python3 tests/client/reflection.py HOST:PORT
"""

import sys

import grpc

LIST_SERVICES = b"\x3a\x01*"  # ServerReflectionRequest.list_services = "*"
HEALTH = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING"}


def raw(message: bytes) -> bytes:
    """Returns the message, which is neither serialized nor parsed."""
    return message


def main() -> None:
    """Prints the services and the health."""
    with grpc.insecure_channel(
            sys.argv[1], options=[("grpc.enable_http_proxy", 0)]) as channel:
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", raw, raw)
        for answer in reflect(iter([LIST_SERVICES]), timeout=10):
            # The names are plain text in the answer.
            print("".join(chr(byte) if 32 <= byte < 127 else "\n" for byte in answer))
            break
        check = channel.unary_unary("/grpc.health.v1.Health/Check", raw, raw)
        answer = check(b"", timeout=10)
        print(HEALTH[answer[1] if len(answer) > 1 else 0])


if __name__ == "__main__":
    main()
