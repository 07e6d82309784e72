"""Reports: a run's table, the report of a sweep, and the plots of both."""
