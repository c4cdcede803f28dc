"""What holds for the project: its structure, documents, migrations and copies."""
