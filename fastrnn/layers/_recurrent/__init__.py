"""Implementation of the recurrent layers and cells, on the backends' stacks."""
