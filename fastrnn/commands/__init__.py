"""The commands of the command line, a module each: ``add_to(subparsers)`` adds the arguments, ``run`` runs it."""
