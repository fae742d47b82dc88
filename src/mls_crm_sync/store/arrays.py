"""Arrays as PostgreSQL writes them, for long columns of texts: the driver takes five times as long over such arrays."""

from __future__ import annotations

from collections.abc import Sequence


def array_of(texts: Sequence[str | None]) -> str:
    """Return the text of an array; None is NULL. ("Array Input and Output Syntax" in PostgreSQL's manual.)"""
    if not texts:
        return "{}"
    if None not in texts:
        joined = '","'.join(texts)  # type: ignore[arg-type] # so it was asked
        if "\\" not in joined and joined.count('"') == 2 * (len(texts) - 1):
            return f'{{"{joined}"}}'
    elements = ["NULL" if text is None else quoted(text) for text in texts]
    return f"{{{','.join(elements)}}}"


def quoted(text: str) -> str:
    """Return a text as an element of an array."""
    return '"{}"'.format(text.replace("\\", r"\\").replace('"', r"\""))
