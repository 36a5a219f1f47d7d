"""What a run leaves for its reader: results, tables, figures and a page."""
