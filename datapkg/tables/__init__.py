"""How a table is stored: pandas and Arrow to content-defined Parquet blocks, and back."""
