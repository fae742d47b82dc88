"""A place in a JSON text of any size, moved on without parsing.

Regular expressions skip strings and find brackets. Brackets are counted without regard to their kind: what
is mixed up inside a record is for its parser to see. Only where they do not come out even, nobody can tell
where a record ends; that is `SourceBroken`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

from mls_crm_sync.core.errors import SourceBroken

from .pieces import Parts

# No possessive repeat of a group that holds a repeat itself: Python before 3.11.5 matches those wrongly (gh-106052).
# Nothing is lost, since each turn begins with a character that nothing before it takes.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*"'
_FLAT = rb'[^"{}\[\]]*+'
SPACE = rb"[ \t\r\n]*+"

_TO_BRACKET = re.compile(_FLAT + rb"(?:" + _STRING + _FLAT + rb")*", re.DOTALL)
_TO_SEPARATOR = re.compile(rb'[^"{}\[\],]*+(?:' + _STRING + rb'[^"{}\[\],]*+)*', re.DOTALL)
_TO_QUOTE = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*', re.DOTALL)
_SPACE = re.compile(SPACE)
_MEMBER = re.compile(SPACE + rb"(" + _STRING + rb")" + SPACE + rb":" + SPACE, re.DOTALL)
_MEMBER_BYTES = 64 * 1024
"""A member whose name is longer than this is none that anybody looks for."""


class JsonText:
    """What lies behind the place is forgotten; `position` counts from the beginning of the text."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._forgotten = 0
        self.buffer = b""
        self.at = 0
        self._blanked: bytes | None = None

    @property
    def position(self) -> int:
        return self._forgotten + self.at

    def read_on(self) -> bool:
        """Read one more block; False at the end."""
        block = next(self._blocks, b"")
        self._forgotten += self.at
        self.buffer = self.buffer[self.at :] + block
        self.at = 0
        self._blanked = None
        return bool(block)

    def blanked(self) -> bytes:
        """Return the buffer with NULs for escaped quotes and backslashes: each quote in it delimits a string.

        A buffer never begins inside an escape, for a place never stands there.
        """
        if self._blanked is None:
            self._blanked = self.buffer
            if b"\\" in self.buffer:
                self._blanked = self.buffer.replace(rb"\\", b"\0\0").replace(rb"\"", b"\0\0")
        return self._blanked

    def look(self) -> bytes:
        """Skip white space; return the byte there without passing it, or none at the end."""
        while True:
            found = _SPACE.match(self.buffer, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.buffer) or not self.read_on():
                return self.buffer[self.at : self.at + 1]

    def step(self) -> bytes:
        """Pass one byte and return it."""
        self.at += 1
        return self.buffer[self.at - 1 : self.at]

    def take_name(self) -> tuple[str | None, bytes]:
        """Pass the name of an object's member and its colon; return it and its bytes, or None and none."""
        while True:
            found = _MEMBER.match(self.buffer, self.at)
            if found and found.end() < len(self.buffer):
                self.at = found.end()
                return _decoded(found[1]), found[0]
            if len(self.buffer) - self.at > _MEMBER_BYTES or not self.read_on():
                return None, b""

    def take(self) -> Parts:
        """Pass and return all up to the next comma or closing bracket at this level, whatever it is.

        Raises SourceBroken where the text ends before.
        """
        taken = Parts()
        depth, in_string, done = 0, False, False
        while not done:
            begin = self.at
            depth, in_string, done = self._advance(depth, in_string=in_string)
            taken.add(self.buffer[begin : self.at])
            if not done and not self.read_on():
                raise SourceBroken(
                    "truncated",
                    f"the JSON text ends at byte {self.position}, before its brackets are closed",
                    hint="fetch the file again: the transfer was cut off",
                )
        return taken

    def _advance(self, depth: int, *, in_string: bool) -> tuple[int, bool, bool]:
        """Go on to the buffer's end, or to a separator at depth 0: then the last of the three is true."""
        buffer, at, done = self.buffer, self.at, False
        while not done:
            skip = _TO_QUOTE if in_string else _TO_BRACKET if depth else _TO_SEPARATOR
            found = skip.match(buffer, at)
            at = found.end() if found else at
            mark = buffer[at : at + 1]
            if not mark or mark == b"\\":  # an escape that the next block completes
                break
            if mark == b'"':
                in_string = not in_string
            elif mark in b"[{":
                depth += 1
            elif depth:
                depth -= 1
            else:
                done = True
                break
            at += 1
        self.at = at
        return depth, in_string, done


def is_cut_off(record: bytes) -> bool:
    """Tell whether a record's text ends inside a string or with brackets open."""
    try:
        JsonText(iter([record, b","])).take()
    except SourceBroken:
        return True
    return False


def split_members(record: bytes) -> list[tuple[str, bytes]] | None:
    """Return the members of an object with the bytes of their values, or None where it is broken."""
    text = JsonText(iter([record]))
    if text.look() != b"{":
        return None
    end = text.step()
    members: list[tuple[str, bytes]] = []
    while end != b"}":
        name, _ = text.take_name()
        if name is None:
            return members if not members and text.look() == b"}" else None
        value = text.take().joined()
        members.append((name, value.strip()))
        end = text.step()
    return members


def _decoded(name: bytes) -> str | None:
    try:
        decoded: str = orjson.loads(name)
    except orjson.JSONDecodeError:
        return None
    return decoded
