"""What a run leaves for its reader: results, tables, pictures and a page."""
