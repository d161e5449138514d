"""What credits an agreement promises, how a change or a dispute alters them."""
