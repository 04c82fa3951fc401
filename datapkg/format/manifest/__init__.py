"""The manifest: its model, parsing, lookup in mapped bytes, validation, edits and differences."""
