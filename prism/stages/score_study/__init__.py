"""What the scores measure and what the routing depends on: tables that are made of scores and norms."""
