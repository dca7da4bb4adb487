"""Recurrent layers and cells over the backends' stacks."""
