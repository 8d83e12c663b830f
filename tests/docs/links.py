#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that what the documents point to exists.

  tests/docs/links.py [ROOT]    prints what is missing, with file and line; exit code 1 if anything is

In every Markdown file of the project:
  * links and pictures with a relative target, and their anchors;
  * paths in backquotes and in commands, as in `common/job/job.h` or `tests/run -R Partition`: those
    whose first part is a folder of the project; `*` and `{a,b}` stand for what they do in a shell;
  * names of sources in backquotes, as in `job.h`: a file of this name must be somewhere in the project;
  * names in backquotes, as in `JobHash` or `ShardState::Apply`: they must be in some source.
Names with the part "foo" or "Foo" stand for any.
"""

from __future__ import annotations

import itertools
import os
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

DEFAULT_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# Made by builds, downloads and runs: in the top folder, and in any.
GENERATED = {"build", "data", "report", "reproduction"}
CACHES = {"__pycache__", "build", "dist", "site-packages"}
HIDDEN = {".ci", ".github"}  # that belong to the project

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")
_PATH = re.compile(r"^\.?[\w-][\w.{},*-]*(/[\w.{},*-]+)+/?$")
_FILE = re.compile(r"^[\w*-][\w.*-]*\.(h|cc|inc|proto)$")
_NAME = re.compile(r"^k?[A-Z][a-z0-9]+([A-Z][A-Za-z0-9]*)+(::\w+)*(\(\))?$")
_SOURCES = (".h", ".cc", ".inc", ".proto", ".py", ".pml")
_PLACEHOLDER = re.compile(r"(^|[/_-])[fF]oo([._{A-Z]|$)")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")
_HEADING = re.compile(r"^#+ +(.*?) *$")


class Finding(NamedTuple):
    """Something that a document points to and that does not exist."""

    file: pathlib.Path
    line: int
    message: str


def alternatives(path: str) -> list[str]:
    """`a.{h,cc}` as `a.h` and `a.cc`."""
    found = _BRACES.search(path)
    if not found:
        return [path]
    before, after = path[: found.start()], path[found.end():]
    return list(
        itertools.chain.from_iterable(
            alternatives(before + part + after) for part in found.group(1).split(",")
        )
    )


def anchors(text: str) -> set[str]:
    """GitHub's anchors of a document's headings."""
    result: set[str] = set()
    for line in text.split("\n"):
        heading = _HEADING.match(line)
        if not heading:
            continue
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1)).lower()
        slug = re.sub(r"[^\w -]", "", words).replace(" ", "-")
        count = 0
        name = slug
        while name in result:
            count += 1
            name = f"{slug}-{count}"
        result.add(name)
    return result


class Project:
    """The files of the project, as far as documents can point to them."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.names: set[str] = set()
        self.words: set[str] = set()  # of all sources
        self.documents: list[pathlib.Path] = []
        for folder, folders, files in os.walk(root):
            ignored = GENERATED | CACHES if pathlib.Path(folder) == root else CACHES
            folders[:] = [
                each
                for each in folders
                if each not in ignored and (each in HIDDEN or not each.startswith("."))
            ]
            self.names.update(files)
            for file in files:
                if file.endswith(_SOURCES):
                    text = (pathlib.Path(folder) / file).read_text(encoding="utf-8", errors="replace")
                    self.words.update(re.findall(r"\w+", text))
            self.documents += [pathlib.Path(folder) / file for file in files if file.endswith(".md")]
        self.top = {entry.name for entry in root.iterdir() if entry.is_dir()} - GENERATED - {".git"}

    def has(self, path: str) -> bool:
        return all(any(self.root.glob(each)) for each in alternatives(path.rstrip("/")))

    def has_name(self, name: str) -> bool:
        pattern = re.compile(re.escape(name).replace(r"\*", ".*"))
        return any(pattern.fullmatch(each) for each in self.names)


def check_word(word: str, project: Project) -> str | None:
    """What is wrong with a path or file name, if it is one."""
    word = word.rstrip(".,;:")
    if _PLACEHOLDER.search(word):
        return None
    if _PATH.match(word) and word.split("/")[0] in project.top:
        return None if project.has(word) else f"no such path: {word}"
    if _NAME.match(word):
        unknown = [part for part in re.findall(r"\w+", word) if part not in project.words]
        return f"no such name in the sources: {unknown[0]}" if unknown else None
    if _FILE.match(word):
        return None if project.has_name(word) else f"no file of this name: {word}"
    return None


def check_link(target: str, document: pathlib.Path) -> str | None:
    if re.match(r"^[a-z]+:", target):
        return None
    path, _, fragment = target.partition("#")
    file = document.parent / path if path else document
    if not file.exists():
        return f"no such file: {target}"
    if fragment and fragment not in anchors(file.read_text(encoding="utf-8")):
        return f"no such heading: {target}"
    return None


def check(document: pathlib.Path, project: Project) -> Iterator[Finding]:
    fenced = False
    for number, line in enumerate(document.read_text(encoding="utf-8").split("\n"), 1):
        if line.startswith("```"):
            fenced = not fenced
            continue
        messages: list[str | None] = []
        if fenced or line.startswith("    "):
            words = line.split()
            messages += [check_word(word, project) for word in words[:1]]
        else:
            messages += [check_link(target, document) for target in _LINK.findall(line)]
            for code in _CODE.findall(line):
                messages += [check_word(word, project) for word in code.split()]
        for message in messages:
            if message:
                yield Finding(document, number, message)


def main(arguments: list[str]) -> int:
    project = Project(pathlib.Path(arguments[0]).resolve() if arguments else DEFAULT_ROOT)
    findings = [found for document in sorted(project.documents) for found in check(document, project)]
    for found in findings:
        print(f"{found.file.relative_to(project.root)}:{found.line}: {found.message}")
    print(f"{len(project.documents)} documents, {len(findings)} findings")
    return 1 if findings or not project.documents else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
