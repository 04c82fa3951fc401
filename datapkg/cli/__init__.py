"""The command line: commands over the operations of `datapkg.api`, with their output and exit codes."""
