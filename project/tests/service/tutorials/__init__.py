"""What each of the tutorials promises, replayed in its order and its words."""
