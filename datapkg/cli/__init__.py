"""What you type: commands over the verbs of `datapkg.api`, with their output and exit codes."""
