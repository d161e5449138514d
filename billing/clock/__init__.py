"""Time that is moved by hand: every job in order, from one moment at which something is due to the next.

Nouns: a job is what the beat schedule would run (`jobs.py` lists them in order); a move goes from one time to a later
one (`moving.py`); an event is a line of what happened (`timeline.py`). Test clocks of single accounts are moved
in `advancing.py`; the rows that keep them are the accounts room's.

Promises: whatever is due at a moment has been done before time goes on; nothing is done in a time but its own, so a
year that is moved through leaves the rows that a year of workers would have left; nobody is mailed unless asked for.
Only money of the sandbox gateway moves, and its webhooks come in the moved time, within this process.

Boundaries: for whole databases no worker may run beside it; accounts on a test clock are nobody else's.
"""
