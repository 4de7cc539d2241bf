"""What `lab-insights init` finds out: which schemas, tables and columns a source has, and by what it tells its tenants apart. It reads no row."""
