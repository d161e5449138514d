"""How dates and numbers are written where no template says it."""
