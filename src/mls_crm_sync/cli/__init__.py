"""The command line: every verb of `sync`, and what an administrator needs. It words results and errors, no more.

Results go to standard output, progress, notices and errors to standard error. Exit codes: 0 done, 1 not or not wholly
done (the message says what), 2 the command line itself was wrong.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; a domain error becomes a message with its hint, and exit code 1."""
    from mls_crm_sync.core.errors import SyncError

    from .app import app

    try:
        app()
    except SyncError as error:
        _say(f"{error.title}: {error}")
        if error.hint:
            _say(f"  {error.hint}")
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output has left: `mls-crm-sync listings list | head`
        sys.stderr.close()
        sys.exit(1)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
