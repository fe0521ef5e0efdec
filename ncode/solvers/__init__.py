"""How initial value problems are solved, and how their gradients are."""
