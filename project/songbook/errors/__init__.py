"""Every failure as problem details (RFC 9457)."""
