# SPDX-License-Identifier: Apache-2.0
"""gRPC channels as this project uses them; common/transport/channel.cc has the options' reasons."""

import re
from typing import Any

import grpc

from percentdelta.errors import InvalidArgumentError

MAX_MESSAGE_BYTES = 8 << 20
_KEEPALIVE_MS = 20_000
# What a server may send of a stream before it is read. gRPC's own probe raises it as long as that
# makes the transfer faster, to a quarter of a large model.
_WINDOW_BYTES = 16 << 20

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
    ("grpc.keepalive_timeout_ms", _KEEPALIVE_MS // 2),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", _WINDOW_BYTES),
    ("grpc.enable_http_proxy", 0),
    ("grpc.min_reconnect_backoff_ms", 8_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.use_local_subchannel_pool", 1),
)

_HOST_LABELS = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?"
                          r"(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.:-]+)?\]")


def _wrong_with(address: str) -> str:
    """What is wrong with an address; empty: nothing."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        return "there is no port"
    if "://" in address:
        return "a scheme is not taken"
    if not host:
        return "the host is empty"
    if not _BRACKETED.fullmatch(host):
        if ":" in host:
            return "an IPv6 address needs brackets, as in [::1]:5000"
        if not _HOST_LABELS.fullmatch(host):
            return 'a host has labels of letters, digits, "-" and "_" with dots between them'
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        return "a port is a number of 1..65535"
    return ""


def check_address(name: str, address: str) -> str:
    """Returns `address` if it is HOST:PORT; raises InvalidArgumentError, naming `name`, if not."""
    wrong = _wrong_with(address) if isinstance(address, str) else "it is not a string"
    if wrong:
        shown = repr(address)[1:-1][:100] if isinstance(address, str) else address
        raise InvalidArgumentError(f'{name}: expected HOST:PORT, as in 127.0.0.1:5000, got '
                                   f'"{shown}": {wrong}')
    return address


def make_channel(address: str) -> Any:
    """A channel of its own to HOST:PORT, which connects with the first call."""
    escaped = re.sub(r"[^A-Za-z0-9._:-]", lambda match: f"%{ord(match.group()):02x}", address)
    return grpc.insecure_channel(f"dns:///{escaped}", options=_OPTIONS)
