"""Progress bars, notices and results that commands show."""
