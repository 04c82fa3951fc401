"""Read delimited text as pandas does, with the fastest engine that gives equal results.

`arrow_engine` parses with pyarrow, `pandas_chunked` with pandas in chunks, and `pandas_whole` with pandas at once.
"""
