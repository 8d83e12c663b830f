# SPDX-License-Identifier: Apache-2.0
"""Who a process is to the servers, and who they are to it: common/transport/credentials.h in
Python."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import pathlib
import re
import socket
import ssl
from typing import Optional, Tuple, Union

from percentdelta.errors import InvalidArgumentError

Path = Union[str, "os.PathLike[str]"]

_DIAGNOSIS_SECONDS = 1.0
_TOKEN = re.compile(r"[A-Za-z0-9_=+/.~-]{16,1000}")


@dataclasses.dataclass(frozen=True)
class Security:
    """The arguments of Client and Worker. Checked when made; the files are read again later."""

    tls_ca: Optional[Path] = None
    tls_cert: Optional[Path] = None
    tls_key: Optional[Path] = None
    token_file: Optional[Path] = None
    insecure: bool = False

    def __post_init__(self) -> None:
        certificate = self.tls_cert is not None or self.tls_key is not None
        needs_all = certificate or (self.tls_ca is not None and self.token_file is None)
        for name in ("tls_ca", "tls_cert", "tls_key"):
            path = getattr(self, name)
            if path is None and needs_all:
                raise InvalidArgumentError(f"{name}: expected a PEM file, got nothing; tls_ca, "
                                           "tls_cert and tls_key go together")
            if path is not None:
                _read(name, path)
        if certificate:
            self._check_key()
        self.token()

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.tls_ca is not None

    def check_address(self, name: str, address: str) -> None:
        """Raises InvalidArgumentError, naming `name`, for a plaintext connection to another
        machine, unless `insecure`, and for one that would carry a token."""
        if self.tls or _is_loopback(address.rpartition(":")[0]):
            return
        if self.token_file is not None:
            raise InvalidArgumentError(
                f"{name}: {address} is not a loopback address: expected tls_ca, so that the token "
                "of token_file is encrypted, got none")
        if not self.insecure:
            raise InvalidArgumentError(
                f"{name}: {address} is not a loopback address: expected tls_ca, tls_cert and "
                "tls_key, or insecure for a connection that everybody on the way can read and "
                "change, got neither")

    def token(self) -> Optional[str]:
        """The token of token_file."""
        if self.token_file is None:
            return None
        token = _read("token_file", self.token_file).decode("ascii", "replace").strip()
        if not _TOKEN.fullmatch(token):
            raise InvalidArgumentError(
                f'token_file: {self.token_file}: expected one token, as "pdctl token" makes it, '
                "got something else")
        return token

    def files(self) -> Tuple[Optional[bytes], Optional[bytes], Optional[bytes]]:
        """The contents of tls_ca, tls_cert and tls_key now."""
        paths = (self.tls_ca, self.tls_cert, self.tls_key)
        ca, cert, key = (None if path is None else pathlib.Path(path).read_bytes()
                         for path in paths)
        return ca, cert, key

    def diagnose(self, address: str) -> str:
        """What is wrong with TLS at `address`, in one sentence; "": nothing that is known.
        common/transport/connection_diagnosis.cc in Python."""
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        try:
            with socket.create_connection((host, int(port)), _DIAGNOSIS_SECONDS) as connection:
                connection.settimeout(_DIAGNOSIS_SECONDS)
                return self._diagnose_tls(connection, host, address) if self.tls \
                    else _diagnose_plaintext(connection, address)
        except OSError:
            return ""

    def _diagnose_tls(self, connection: socket.socket, host: str, address: str) -> str:
        try:
            with self._context().wrap_socket(connection, server_hostname=host) as encrypted:
                return self._diagnose_refusal(encrypted, address)
        except ssl.SSLCertVerificationError as error:
            if error.verify_code == 10:
                return f"the certificate of the server at {address} has expired; replace it there"
            if error.verify_code in (62, 64):
                return (f"the server's certificate is not for {host}; use an address that it "
                        "names, or add the name to the certificate")
            return (f"the certificate of the server at {address} is not signed by {self.tls_ca}, "
                    f"or is no server's: {error.verify_message}; give the CA of this cluster by "
                    "tls_ca")
        except ssl.SSLError as error:
            if "WRONG_VERSION_NUMBER" in str(error) or "PACKET_LENGTH" in str(error):
                return (f"the server at {address} speaks plaintext, and this is a client with TLS; "
                        "start the server with tls_ca, tls_cert and tls_key")
        return ""

    def _diagnose_refusal(self, encrypted: ssl.SSLSocket, address: str) -> str:
        """The server looks at our certificate after the handshake; gRPC's then begins with HTTP/2,
        or ends the connection."""
        try:
            if encrypted.read(1):
                return ""
        except socket.timeout:
            return ""
        except OSError:
            pass
        if self.tls_cert is None:
            return f"the server at {address} asks for a certificate; give tls_cert and tls_key"
        return (f"the server at {address} refuses our certificate: {self.tls_cert} has expired, or "
                "is not signed by the server's CA")

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.tls_ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        if self.tls_cert is not None and self.tls_key is not None:
            context.load_cert_chain(self.tls_cert, self.tls_key, password="")
        return context

    def _check_key(self) -> None:
        try:
            self._context()
        except (ssl.SSLError, OSError) as error:
            if "KEY_VALUES_MISMATCH" in str(error):
                raise InvalidArgumentError(
                    f"tls_key: {self.tls_key}: expected the private key of {self.tls_cert}, got "
                    "another one") from None
            raise InvalidArgumentError(f"tls_cert: {self.tls_cert}: expected PEM files of a "
                                       f"certificate and its unencrypted key: {error}") from None


def _diagnose_plaintext(connection: socket.socket, address: str) -> str:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        context.wrap_socket(connection).close()
    except ssl.SSLError as error:
        if "ALERT" not in str(error):
            return ""
    return (f"the server at {address} expects TLS, and this is a plaintext client; give tls_ca, "
            "tls_cert and tls_key")


def _read(name: str, path: Path) -> bytes:
    try:
        return pathlib.Path(path).read_bytes()
    except OSError as error:
        raise InvalidArgumentError(f"{name}: {path}: {error.strerror}") from None


def _is_loopback(host: str) -> bool:
    host = host.strip("[]")
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        name = host[:-1].lower() if host.endswith(".") else host.lower()
        return name == "localhost" or name.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and mapped.is_loopback)
