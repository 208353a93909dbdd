"""Index candidates, their what-if plans, and the choice among them."""
