"""A request from the socket to the handler: middleware, routes, bodies, dependencies."""
