"""Prints the OpenAPI document: `make openapi`."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

from mls_crm_sync.core.listing import Normaliser

from .app import create_app, document
from .context import Service

nothing: object = None  # no database is touched
app = create_app(Service(nothing, nothing, Normaliser(), timedelta(0)), local_mode=True)  # type: ignore[arg-type]
sys.stdout.write(json.dumps(document(app), indent=1, sort_keys=True) + "\n")
