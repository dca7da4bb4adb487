"""The parts of ``fastrnn launch``: mpiexec's command line, the ranks' connections, and the supervision of a run."""
