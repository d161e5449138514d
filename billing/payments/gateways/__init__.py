"""Ways to money: the contract that each gateway keeps, the registry that finds one, and the gateways themselves."""
