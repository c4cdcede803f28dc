"""The machinery: nothing here knows the service that is made of it."""
