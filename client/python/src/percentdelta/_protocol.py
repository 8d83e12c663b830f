# SPDX-License-Identifier: Apache-2.0
"""Messages and calls of proto/percentdelta/v1, made from the description that the build adds.

Instead of generated modules: those refuse runtimes older than their generator, and register their
files in the process-wide pool, where another copy of them would clash. A description works with
every version of protobuf, and has a pool of its own.
"""

import importlib.resources
import pathlib
from typing import Any, Dict, Iterable

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from percentdelta import _describe

PACKAGE = "percentdelta.v1"


def _description() -> bytes:
    resource = importlib.resources.files("percentdelta") / "protocol.binpb"
    if resource.is_file():
        return resource.read_bytes()
    # A source tree, which is not built: client/python/src/percentdelta.
    proto = pathlib.Path(__file__).resolve().parents[4] / "proto"
    if not (proto / "percentdelta/v1/job.proto").is_file():
        raise ImportError(f"percentdelta: the package has neither protocol.binpb (is it "
                          f"installed?) nor the project's .proto files in {proto}")
    try:
        return _describe.describe(proto)
    except RuntimeError as error:
        raise ImportError(str(error)) from None


_FILES = descriptor_pb2.FileDescriptorSet.FromString(_description())
_POOL = descriptor_pool.DescriptorPool()
for _file in _FILES.file:
    _POOL.AddSerializedFile(_file.SerializeToString())


def _make_class(descriptor: Any) -> Any:
    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and later
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(_POOL).GetPrototype(descriptor)


def _make_classes(descriptors: Iterable[Any]) -> Dict[str, Any]:
    classes = {}
    for descriptor in descriptors:
        classes[descriptor.full_name] = _make_class(descriptor)
        classes.update(_make_classes(descriptor.nested_types))
    return classes


# All of them, and for the life of the process. protobuf 7.36 itself holds a class weakly: one that
# nothing else refers to is collected, and a thread that asks for it while the collector has cleared
# half of it gets that half, and crashes.
_CLASSES = _make_classes(
    descriptor for file in _FILES.file
    for descriptor in _POOL.FindFileByName(file.name).message_types_by_name.values())


def message(name: str) -> Any:
    """The class of a message, as in message("Job") or message("Lease")."""
    return _CLASSES[f"{PACKAGE}.{name}"]


class Stub:
    """The calls of one service on a channel, each an attribute of its name.

    Requests are messages; so are answers. What gRPC's generated stubs are.
    """

    def __init__(self, service: str, channel: "grpc.Channel") -> None:
        self._calls: Dict[str, Any] = {}
        for method in _method_protos(service):
            kind = (("stream" if method.client_streaming else "unary") + "_"
                    + ("stream" if method.server_streaming else "unary"))
            self._calls[method.name] = getattr(channel, kind)(
                f"/{PACKAGE}.{service}/{method.name}",
                request_serializer=message(_short(method.input_type)).SerializeToString,
                response_deserializer=message(_short(method.output_type)).FromString)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._calls[name]
        except KeyError:
            raise AttributeError(name) from None


def _method_protos(service: str) -> Any:
    for file in _FILES.file:
        for candidate in file.service:
            if candidate.name == service:
                return candidate.method
    raise LookupError(f"no service {service} in {PACKAGE}")


def _short(type_name: str) -> str:
    return type_name.rsplit(".", 1)[-1]
