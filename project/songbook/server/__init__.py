"""uvicorn and the HTTP/1.1 protocol."""
