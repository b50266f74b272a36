"""Tables: checks of what comes in, columns, files, row numbers."""
