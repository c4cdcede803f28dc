"""One record: its statements, entity tags, responses, and its write as a transaction."""
