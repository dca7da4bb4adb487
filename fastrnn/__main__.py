"""``python -m fastrnn`` is ``fastrnn``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
