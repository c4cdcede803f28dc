"""The service: an asynchronous REST microservice whose JSON is written by PostgreSQL."""
