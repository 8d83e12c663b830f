# SPDX-License-Identifier: Apache-2.0
"""gRPC channels as this project uses them; common/transport/channel.cc has the options' reasons."""

import os
import re
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

import grpc

from percentdelta._security import Security
from percentdelta.errors import InvalidArgumentError

MAX_MESSAGE_BYTES = 8 << 20
_KEEPALIVE_MS = 20_000
_REFRESH_SECONDS = 1.0  # at most this old is what is known of certificates' files
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


def make_channel(address: str, security: Security = Security()) -> Any:
    """A channel of its own to HOST:PORT, which connects with the first call. Raises
    InvalidArgumentError for an address that `security` does not allow."""
    security.check_address("address", address)
    escaped = re.sub(r"[^A-Za-z0-9._:-]", lambda match: f"%{ord(match.group()):02x}", address)
    target = f"dns:///{escaped}"
    if security.tls or security.token_file is not None:
        return _SecureChannel(target, security)
    return grpc.insecure_channel(target, options=_OPTIONS)


class _SecureChannel:
    """The part of grpc.Channel that is used here, with certificates that are read again when their
    files change, and a token with each call. Thread-safe.

    gRPC's channels for Python cannot do the first: a call after a change gets a new channel. The
    one before stays until the next change, for the calls that it carries."""

    def __init__(self, target: str, security: Security) -> None:
        self._target = target
        self._security = security
        token = security.token()
        self.metadata = None if token is None else (("authorization", f"Bearer {token}"),)
        self._lock = threading.Lock()
        self._checked = 0.0
        self._stamp = self._stamp_now()
        self._channels: List[Any] = [self._make()]
        self._closed = False

    def unary_unary(self, path: str, **options: Any) -> "_Method":
        """As of grpc.Channel; so are the others."""
        return _Method(self, "unary_unary", path, options)

    def unary_stream(self, path: str, **options: Any) -> "_Method":
        """A call with a stream of answers."""
        return _Method(self, "unary_stream", path, options)

    def stream_unary(self, path: str, **options: Any) -> "_Method":
        """A call with a stream of requests."""
        return _Method(self, "stream_unary", path, options)

    def close(self) -> None:
        """Ends all calls and connections."""
        with self._lock:
            self._closed = True
            for channel in self._channels:
                channel.close()

    def current(self) -> Any:
        """The grpc.Channel for a new call."""
        with self._lock:
            now = time.monotonic()
            if not self._closed and now - self._checked >= _REFRESH_SECONDS:
                self._checked = now
                stamp = self._stamp_now()
                if stamp != self._stamp:
                    self._renew(stamp)
            return self._channels[-1]

    def _renew(self, stamp: Tuple[Any, ...]) -> None:
        try:
            channel = self._make()
        except OSError:
            return  # being replaced: the next call looks again
        self._stamp = stamp
        self._channels.append(channel)
        for old in self._channels[:-2]:
            old.close()
        del self._channels[:-2]

    def _make(self) -> Any:
        if not self._security.tls:
            return grpc.insecure_channel(self._target, options=_OPTIONS)
        ca, cert, key = self._security.files()
        credentials = grpc.ssl_channel_credentials(ca, key, cert)
        return grpc.secure_channel(self._target, credentials, options=_OPTIONS)

    def _stamp_now(self) -> Tuple[Any, ...]:
        return tuple(_stamp_of(path) for path in (self._security.tls_ca, self._security.tls_cert,
                                                  self._security.tls_key))


class _Method:
    """A call of a _SecureChannel: what gRPC calls a multi-callable."""

    def __init__(self, channel: _SecureChannel, kind: str, path: str,
                 options: Dict[str, Any]) -> None:
        self._channel = channel
        self._kind = kind
        self._path = path
        self._options = options
        self._made: Tuple[Any, Any] = (None, None)  # the channel, and its multi-callable

    def __call__(self, request: Any, timeout: Optional[float] = None) -> Any:
        return self._callable()(request, timeout=timeout, metadata=self._channel.metadata)

    def future(self, request: Any, timeout: Optional[float] = None) -> Any:
        """The call, begun."""
        return self._callable().future(request, timeout=timeout, metadata=self._channel.metadata)

    def _callable(self) -> Any:
        channel = self._channel.current()
        made = self._made
        if made[0] is not channel:
            made = (channel, getattr(channel, self._kind)(self._path, **self._options))
            self._made = made
        return made[1]


def _stamp_of(path: Any) -> Any:
    if path is None:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
