"""datapkg: data, installed and imported like code."""

__version__ = "0.1.0"
