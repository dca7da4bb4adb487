"""The commands of the command line, a module each: ``add_to(subparsers)`` says what it takes, ``run`` does it."""
