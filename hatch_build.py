"""Builds the dashboard into a wheel. A checkout that is installed for work does without: `make dashboard` builds it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Dashboard(BuildHookInterface):  # type: ignore[type-arg] # hatchling has no types for it
    """With the dashboard built already (a source distribution, `make dashboard`) that one goes in as it is."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del build_data
        page = Path(self.root, "src", "mls_crm_sync", "ui", "index.html")
        if version == "editable" or page.exists() or os.environ.get("MLS_CRM_SYNC_WITHOUT_DASHBOARD"):
            return
        npm = [sys.executable, str(Path(self.root, "web", "npm.py"))]
        for arguments in (["ci", "--no-audit", "--no-fund"], ["run", "build"]):
            if subprocess.run([*npm, *arguments], check=False).returncode != 0:
                sys.exit(
                    "the dashboard could not be built; MLS_CRM_SYNC_WITHOUT_DASHBOARD=1 builds a wheel without it, "
                    "whose service says so in its place"
                )
        if not page.exists():
            sys.exit("the build of the dashboard made no index.html")
