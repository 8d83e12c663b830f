# SPDX-License-Identifier: Apache-2.0
"""Validates objects by the schemas of Kubernetes' API, where there is no API server to do it."""

import json
import pathlib
from typing import Any

import jsonschema
import yaml

from tests.harness.errors import Violation
from tests.kubernetes.programs import MODULE, VERSION, Go, service_monitor

FOLDER = "api/openapi-spec/v3"  # of the module: a file for each group and version


class Schemas:
    """The schemas of Kubernetes' own kinds, and of ServiceMonitor."""

    def __init__(self, go: Go) -> None:
        self._folder: pathlib.Path = go.module(MODULE, f"v{VERSION}") / FOLDER
        self._documents: dict[str, Any] = {}
        definition = yaml.safe_load(service_monitor().read_text(encoding="utf-8"))["spec"]
        version = definition["versions"][0]
        self._custom = {f"{definition['group']}/{version['name']}":
                        {definition["names"]["kind"]: version["schema"]["openAPIV3Schema"]}}

    def validate(self, name: str, objects: list[dict[str, Any]]) -> None:
        """Throws Violation, with every finding, if an object does not fit its schema."""
        findings = []
        for each in objects:
            where = f"{each['kind']} {each['metadata']['name']}"
            validator = self._validator(each["apiVersion"], each["kind"])
            findings += [f"{where}: {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
                         for error in validator.iter_errors(each)]
        if findings:
            raise Violation(f"{name}:\n" + "\n".join(f"    {finding}" for finding in findings))

    def _validator(self, api: str, kind: str) -> Any:
        custom = self._custom.get(api, {}).get(kind)
        if custom is not None:
            schema = strict(custom)
            # The definition leaves these to the API server.
            schema["properties"]["metadata"] = {"type": "object"}
            return jsonschema.Draft4Validator(schema)
        document = self._document(api)
        group, _, version = api.rpartition("/")
        for schema in document["components"]["schemas"].values():
            if {"group": group, "kind": kind, "version": version} in schema.get(
                    "x-kubernetes-group-version-kind", ()):
                return jsonschema.Draft4Validator(
                    {**schema, "components": document["components"]})
        raise Violation(f"{api} has no kind {kind}")

    def _document(self, api: str) -> Any:
        if api not in self._documents:
            name = f"{'apis' if '/' in api else 'api'}/{api}".replace("/", "__")
            path = self._folder / f"{name}_openapi.json"
            if not path.is_file():
                raise Violation(f"Kubernetes {VERSION} has no API {api}")
            self._documents[api] = strict(json.loads(path.read_text(encoding="utf-8")))
        return self._documents[api]


def strict(schema: Any) -> Any:
    """The schema, but that objects have no properties that it does not know."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made
