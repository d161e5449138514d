"""What happens when a period or a cycle ends, and what the next invoice will say."""
