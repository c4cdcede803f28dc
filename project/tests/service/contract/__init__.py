"""What every resource promises."""
