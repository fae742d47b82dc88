"""The command line: every verb of `sync`, and what an administrator needs. It words results and errors, no more.

Results go to standard output, progress, notices and errors to standard error. Exit codes: 0 done, 1 not or not wholly
done (the message says what), 2 the command line itself was wrong.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; a domain error becomes a message with its hint, and exit code 1."""
    _stand_in_for_closed_streams()
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


def _stand_in_for_closed_streams() -> None:
    """Open /dev/null for what was closed (`<&-`): the next file would get its number, which the event loop refuses."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - by position alone; for the programs that we start
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")  # None where it was closed
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")
