# SPDX-License-Identifier: Apache-2.0
"""One self-contained page with all results of a folder."""

import base64
import html
import pathlib
from collections.abc import Sequence

Section = tuple[str, pathlib.Path | None, list[str]]  # heading, SVG file, lines of text

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1280px; margin: 2em auto;
  padding: 0 1em }}
h1 {{ font-size: 1.6em }} h2 {{ font-size: 1.25em; margin-top: 2em }}
img {{ max-width: 100%; height: auto }}
pre {{ overflow-x: auto; background: #f6f6f6; padding: .8em; font-size: 13px; line-height: 1.4 }}
</style>
<h1>{title}</h1>
<p>{intro}</p>
{sections}
</html>
"""


def write(path: pathlib.Path, title: str, intro: str, sections: Sequence[Section]) -> None:
    """Writes the page with all sections."""
    parts = []
    for heading, picture, lines in sections:
        parts.append(f"<h2>{html.escape(heading)}</h2>")
        if picture is not None and picture.exists():
            data = base64.b64encode(picture.read_bytes()).decode("ascii")
            parts.append(f'<img alt="{html.escape(heading)}" src="data:image/svg+xml;base64,{data}">')
        parts.append(f"<pre>{html.escape(chr(10).join(lines))}</pre>")
    path.write_text(_PAGE.format(title=html.escape(title), intro=html.escape(intro),
                                 sections="\n".join(parts)), encoding="utf-8")
