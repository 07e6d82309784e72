"""Reports: the table of a run, the report of a sweep, and the plots of both."""
