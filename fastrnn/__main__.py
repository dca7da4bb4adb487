"""Make ``python -m fastrnn`` run the command ``fastrnn``."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
