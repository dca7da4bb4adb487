"""To and from other libraries: each module imports its library only when used, and changes layout only."""
