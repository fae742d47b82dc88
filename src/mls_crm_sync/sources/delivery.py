"""The bytes of a delivery: a file, a named pipe or standard input, unpacked when they are gzip.

Blocks are small and unpacking is bounded, so that neither a huge file nor a gzip bomb fills memory. Whether
something is gzip is told by its first bytes, never by its name. What cannot be opened or unpacked is
`SourceBroken`, with what to do about it.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from threading import Event
from typing import Any

from mls_crm_sync.core.errors import SourceBroken

STDIN = "-"
BLOCK_BYTES = 256 * 1024
"""Also bounds how many tiny records are held at once; larger blocks were measured to be no faster."""
HEAD_BYTES = 64 * 1024
POLL_MILLISECONDS = 100
GZIP_MAGIC = b"\x1f\x8b"
_OWN_DESCRIPTORS = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")
_GZIP_WINDOW = 31  # zlib's word for: expect a gzip header and check its sums


class ReadingStopped(Exception):  # not an error: the reader was closed early
    """Nobody wants the rest"""


class Delivery:
    """The unpacked bytes of an input. `bytes_read` counts the input as it lies there."""

    def __init__(self, read: Callable[[int], bytes], *, block_bytes: int = BLOCK_BYTES) -> None:
        """`read` returns at most that many bytes, and none at the end."""
        self._read = read
        self._block_bytes = block_bytes
        self.bytes_read = 0
        self._blocks = self._unpacked()

    def peek(self) -> bytes:
        """Return the first bytes; damage behind them shows when the blocks are read. Raises SourceBroken."""
        head = b""
        broken: SourceBroken | None = None
        try:
            while len(head) < HEAD_BYTES and (block := next(self._blocks, b"")):
                head += block
        except SourceBroken as error:
            if not head:
                raise
            broken = error
        self._blocks = self._after(head, self._blocks, broken)
        return head

    def blocks(self) -> Iterator[bytes]:
        """Return what was not read yet; a peeked head comes again."""
        return self._blocks

    @staticmethod
    def _after(head: bytes, rest: Iterator[bytes], broken: SourceBroken | None) -> Iterator[bytes]:
        if head:
            yield head
        if broken:
            raise broken
        yield from rest

    def _unpacked(self) -> Iterator[bytes]:
        raw = self._raw_blocks()
        start = next(raw, b"")
        while len(start) < len(GZIP_MAGIC) and (more := next(raw, b"")):
            start += more
        blocks = chain(_some(start), raw)
        yield from _gunzip(blocks, self._block_bytes) if start.startswith(GZIP_MAGIC) else blocks

    def _raw_blocks(self) -> Iterator[bytes]:
        while block := self._read(self._block_bytes):
            self.bytes_read += len(block)
            yield block


def _gunzip(blocks: Iterator[bytes], block_bytes: int) -> Iterator[bytes]:
    """Unpack all members of a gzip file, at most `block_bytes` at a time; zeros at the end are padding."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    for block in blocks:
        packed = block
        while packed:
            if unpacker.eof:
                packed = packed.lstrip(b"\0")
                unpacker = zlib.decompressobj(_GZIP_WINDOW) if packed else unpacker
                continue
            yield from _some(_unpack(unpacker, packed, block_bytes))
            packed = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    if not unpacker.eof:
        raise SourceBroken(
            "truncated",
            "the gzip file ends before its data do",
            hint="fetch the file again: the transfer was cut off",
        )


def _some(data: bytes) -> tuple[bytes, ...]:
    return (data,) if data else ()


def _unpack(unpacker: Any, packed: bytes, limit: int) -> bytes:  # noqa: ANN401 # zlib does not export the type
    try:
        data: bytes = unpacker.decompress(packed, limit)
    except zlib.error as error:
        raise SourceBroken(
            "damaged",
            f"the gzip file is damaged: {error}",
            hint="fetch the file again; `gzip -t FILE` tells whether it is whole",
        ) from error
    return data


@contextmanager
def open_delivery(path: str, *, stop: Event, block_bytes: int = BLOCK_BYTES) -> Iterator[Delivery]:
    """Open `path`, or standard input for `-`; setting `stop` raises ReadingStopped at the next block.

    Raises SourceBroken.
    """
    with _reader(path, stop) as read:
        yield Delivery(read, block_bytes=block_bytes)


def size_of(path: str) -> int | None:
    """Return the bytes of a regular file, None for everything else."""
    with suppress(OSError, ValueError):
        found = os.stat(path)  # noqa: PTH116 # the path may be any text; pathlib would add nothing
        return found.st_size if path != STDIN and stat.S_ISREG(found.st_mode) else None
    return None


def printable(path: str) -> str:
    """Return a path as it can be shown and stored: what is no text in it, or would steer a terminal, is replaced."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in path)


def is_read_once(path: str) -> bool:
    """Tell a pipe, a device, or a file that only this process has open under such a name."""
    if path.startswith(_OWN_DESCRIPTORS):
        return True
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 # the path may be any text; pathlib would add nothing
    except (OSError, ValueError):
        return False  # the reader says what is wrong with it
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def _reader(path: str, stop: Event) -> Iterator[Callable[[int], bytes]]:
    if path == STDIN:
        yield _stdin_reader(stop)
        return
    descriptor = _open(path)
    try:
        yield _descriptor_reader(descriptor, path, stop)
    finally:
        os.close(descriptor)


def _open(path: str) -> int:
    """Non-blocking, so that a named pipe nobody writes to can be given up."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceBroken(
            "is_a_directory",
            f"{printable(path)} is a directory",
            hint=f"name the files in it: {printable(path).rstrip('/')}/*",
        )
    return descriptor


def _stdin_reader(stop: Event) -> Callable[[int], bytes]:
    if sys.stdin is None or sys.stdin.closed:
        raise SourceBroken("no_such_file", "standard input is closed", hint="pipe the delivery in: ... < FILE")
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # a stand-in without a descriptor, as test runners give
        return sys.stdin.buffer.read
    return _descriptor_reader(descriptor, "standard input", stop)


def _descriptor_reader(descriptor: int, name: str, stop: Event) -> Callable[[int], bytes]:
    """A pipe is waited for in short turns: a read that has begun cannot be interrupted."""
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)

    def read(limit: int) -> bytes:
        while not stop.is_set():
            try:
                if regular or ready.poll(POLL_MILLISECONDS):
                    return os.read(descriptor, limit)
            except BlockingIOError:
                continue
            except OSError as error:
                raise _unreadable(name, error) from error
        raise ReadingStopped

    return read


def _unreadable(path: str, error: OSError | ValueError) -> SourceBroken:
    number = error.errno if isinstance(error, OSError) else errno.ENOENT
    if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return SourceBroken("no_such_file", f"there is no file {path!r}", hint="check the path")
    if number in (errno.EACCES, errno.EPERM):
        shown = printable(path)
        return SourceBroken(
            "no_permission", f"{shown} may not be read by this user", hint=f"allow it: chmod +r {shown}"
        )
    return SourceBroken(
        "unreadable", f"{printable(path)} cannot be read: {error}", hint="check the disk or the network folder"
    )
