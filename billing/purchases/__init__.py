"""Buying credits: packs at the checkout, automatic top-up, and taking a purchase back.

Nouns: `Purchase` (one rendered form's purchase of a pack), `TopUpRule` (when to buy by itself), `TopUp` (one such buy).

Promises: one purchase, one invoice, one payment attempt and one grant per form token, however often the form is sent;
at most one top-up of a rule is under way; within a calendar month of the account's zone a rule buys at most so often
and for so much money as it says; after a decline it waits longer each time, and after repeated ones it switches itself
off and says so; a refund gives back at most what remains of the lot, at the lot's cost (L13).

Boundaries: this room decides what to buy; payments collects, invoicing fulfils.
Locks: the purchase's or rule's row first, then the invoice's and what follows it.
"""
