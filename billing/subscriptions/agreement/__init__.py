"""What was agreed: plans on offer, terms with contracts, and the calendar of periods and cycles."""
