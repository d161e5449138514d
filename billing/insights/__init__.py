"""What staff, monitoring and customers read about an account or the business as a whole, put together from many rooms.

Reads only, at any time, no locks. The reports of `billing.finance` are a room of their own.
"""
