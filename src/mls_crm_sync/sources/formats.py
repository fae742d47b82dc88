"""Which format a delivery has: by its name, then by its first bytes; and what surely is none of ours."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import PurePath

from mls_crm_sync.core.errors import SourceBroken

from .delivery import GZIP_MAGIC
from .json_text import is_cut_off

UTF8_BOM = b"\xef\xbb\xbf"


class FileFormat(StrEnum):
    JSON = "json"
    JSON_LINES = "jsonl"
    CSV = "csv"


_BY_SUFFIX = {
    ".json": FileFormat.JSON,
    ".jsonl": FileFormat.JSON_LINES,
    ".ndjson": FileFormat.JSON_LINES,
    ".csv": FileFormat.CSV,
    ".tsv": FileFormat.CSV,
}
_FOREIGN = {
    b"PK\x03\x04": ("a ZIP archive or an Excel workbook", "unpack it, or save the sheet as CSV UTF-8"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "save the sheet as CSV UTF-8"),
    b"PAR1": ("a Parquet file", "convert it to JSON Lines or CSV"),
    b"%PDF": ("a PDF", "ask the sender for JSON or CSV"),
    b"(\xb5/\xfd": ("packed with zstd", "unpack it: zstd -d FILE"),
    b"BZh": ("packed with bzip2", "unpack it: bunzip2 FILE"),
    b"\xfd7zXZ": ("packed with xz", "unpack it: unxz FILE"),
    GZIP_MAGIC: ("packed with gzip twice", "unpack it once: gunzip FILE"),
}
_UTF16 = re.compile(rb"\xff\xfe|\xfe\xff|(?:\0[^\0]){4}|(?:[^\0]\0){4}|\0\0\xfe\xff")
_SOME_OBJECT_LINE = re.compile(rb"^[ \t\r]*\{", re.MULTILINE)


def find_format(path: str, head: bytes, *, asked: FileFormat | None, encoding: str = "utf-8") -> FileFormat:
    """Return the format, the one that was asked for if any. Raises SourceBroken for what is none.

    `encoding` is what the operator says about a CSV.
    """
    _refuse_foreign(head)
    if _UTF16.match(head) and not encoding.startswith(("utf-16", "utf-32")):
        raise SourceBroken(
            "encoding", "the text is UTF-16 or UTF-32", hint="convert it: iconv -f UTF-16 -t UTF-8 FILE > NEW"
        )
    found = asked or _by_name_and_content(path, head)
    if found is FileFormat.JSON_LINES and not _SOME_OBJECT_LINE.search(head):
        raise SourceBroken(
            "not_json",
            f"no line begins with a record; the first is {_first_line(head)!r}",
            hint="JSON Lines has one {...} per line",
        )
    return found


def _by_name_and_content(path: str, head: bytes) -> FileFormat:
    """Tell JSON and JSON Lines apart by content, for their names are often mixed up."""
    named = _by_name(path)
    begin = head.lstrip()[:1]
    if named is FileFormat.CSV:
        return FileFormat.CSV
    if begin == b"[" or (begin == b"{" and _is_spread_over_lines(head)):
        return FileFormat.JSON
    if begin == b"{" and named is not FileFormat.JSON_LINES:
        return FileFormat.JSON_LINES if _has_an_object_per_line(head) else FileFormat.JSON
    return named or _csv_or_nothing(head)


def _by_name(path: str) -> FileFormat | None:
    name = PurePath(path)
    if name.suffix.lower() in {".gz", ".gzip"}:
        name = name.with_suffix("")
    return _BY_SUFFIX.get(name.suffix.lower())


def _has_an_object_per_line(head: bytes) -> bool:
    first, _, rest = head.lstrip().partition(b"\n")
    return bool(rest.strip()) and not is_cut_off(first)


def _is_spread_over_lines(head: bytes) -> bool:
    first, _, rest = head.lstrip().partition(b"\n")
    return rest.lstrip()[:1] not in (b"", b"{") and is_cut_off(first)


def _csv_or_nothing(head: bytes) -> FileFormat:
    if any(mark in head.partition(b"\n")[0] for mark in (b",", b";", b"\t")):
        return FileFormat.CSV
    raise SourceBroken(
        "unknown_format",
        f"neither JSON nor CSV; it begins with {_first_line(head)!r}",
        hint="name the file .json, .jsonl or .csv, or give the format",
    )


def _refuse_foreign(head: bytes) -> None:
    if not head.strip():
        raise SourceBroken(
            "empty", "the file is empty", hint="a delivery of no records is [] in JSON, or the header in CSV"
        )
    for magic, (what, hint) in _FOREIGN.items():
        if head.startswith(magic):
            raise SourceBroken("not_json", f"this is {what}", hint=hint)
    if head.lstrip()[:1] == b"<":
        raise SourceBroken(
            "not_json",
            f"this is HTML or XML; it begins with {_first_line(head)!r}",
            hint="open it in a browser: often it is a log-in page or an error message of the server",
        )


def _first_line(head: bytes) -> str:
    return head.lstrip().partition(b"\n")[0][:60].decode("utf-8", "replace").strip()
