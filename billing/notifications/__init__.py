"""What someone must be told.

Nouns: `Notification`, a fact written in the transaction of the act it tells of; `NotificationDelivery`, one mail to one
address; `NotificationRead` and `NotificationPreference`, what a member has read and wants.

The way of a notification: `outbox.write` says it; `inbox` shows it in the portal from that moment; `fanout` finds whom
to mail and writes their deliveries; `delivery` mails what is due and tries again. `kinds.py` is THE list of what can be
told, to whom, and which function of the `about_…` files puts it into words.

Promises: at most one row per `dedupe_key`; one mail per notification and address, exactly once unless a mail server or
a worker dies between taking a message and saying so; a mail that fails is tried again from its row with growing gaps
and is visible to staff until it is sent or given up, and so is a notification that found nobody to tell; nothing is
purged. Wishes are respected, but an essential kind always reaches an owner.

Boundaries: writers pass finished facts (numbers, names, times); this room turns them into words and never looks
anything up in the rooms above.
"""
