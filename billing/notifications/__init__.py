"""What someone must be told.

Noun: `Notification`, an outbox row written in the transaction of the act it tells of.

Promises: at most one row per `dedupe_key`; a row is delivered at least once and, unless a mail server dies between
accepting a message and saying so, exactly once; a failed delivery is tried again from its row with growing gaps and is
visible to staff until it succeeds or is given up.

Boundaries: writers pass finished facts (numbers, names, times); this room turns them into words and never looks
anything up in the rooms above.
"""
