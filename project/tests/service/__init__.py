"""What the service promises, resource by resource."""
