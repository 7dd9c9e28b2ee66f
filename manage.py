#!/usr/bin/env python
"""Django's command line for RouteKit Site."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from traces import notifier

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "routekit_site.settings")
    try:
        execute_from_command_line(sys.argv)
    finally:
        notifier.finish()
