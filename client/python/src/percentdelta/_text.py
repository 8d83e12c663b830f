# SPDX-License-Identifier: Apache-2.0
"""Text that came from elsewhere, made fit for a message on one line, as common/base/text.cc
does."""

from typing import Union

_ESCAPES = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}


def _pieces(data: bytes) -> "list[tuple[bytes, bool]]":
    """Valid UTF-8 sequences that are not control characters (True), and other bytes (False)."""
    pieces = []
    at = 0
    while at < len(data):
        length = _sequence_length(data, at)
        plain = length > 1 or (length == 1 and data[at] >= 0x20 and data[at] != 0x7F)
        step = length if plain else 1
        pieces.append((data[at:at + step], plain))
        at += step
    return pieces


def _sequence_length(data: bytes, at: int) -> int:
    lead = data[at]
    if lead < 0x80:
        return 1
    length = 4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2
    sequence = data[at:at + length]
    try:
        text = sequence.decode("utf-8")
    except UnicodeDecodeError:
        return 0
    return 0 if len(text) != 1 or 0x80 <= ord(text) < 0xA0 else length


def escape_for_log(text: Union[str, bytes], max_bytes: int) -> str:
    """`text` on one line: control characters and bytes that are not UTF-8 become C escapes. Cut to
    at most `max_bytes`, with "..." at the end, if it is longer."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    escaped = b""
    fits = 0
    for piece, plain in _pieces(data):
        following = (piece if plain
                     else _ESCAPES.get(piece[0], f"\\x{piece[0]:02x}").encode("ascii"))
        if len(escaped) + len(following) > max_bytes:
            return (escaped[:fits] + b"..."[:max_bytes - fits]).decode("utf-8")
        escaped += following
        if len(escaped) + 3 <= max_bytes:
            fits = len(escaped)
    return escaped.decode("utf-8")


def quoted(text: Union[str, bytes]) -> str:
    """As it is shown in messages: escaped, cut, in quotes."""
    return f'"{escape_for_log(text, 80)}"'
