"""`python -m routekit_site.make_keys`: fresh keys for an installation. The commands of `manage.py` need them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from routekit_site.demo_keys import make_keys


def _write(path: Path, value: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        sys.exit(f"{path} exists already: what a lost key encrypted can't be read again, so none is overwritten")
    path.write_text(value, encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Print the keys as environment variables, or with `--into` write each into a file of its own (mode 0600)."""
    parser = argparse.ArgumentParser(prog="python -m routekit_site.make_keys", description=main.__doc__)
    parser.add_argument("--into", type=Path, metavar="DIRECTORY")
    directory: Path | None = parser.parse_args(arguments).into
    for name, value in make_keys().items():
        if directory is None:
            sys.stdout.write(f"{name}={value}\n")
        else:
            _write(directory / name.lower(), value)


if __name__ == "__main__":
    main()
