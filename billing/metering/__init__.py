"""What was used.

Nouns: `UsageEvent` (a fact), `DailyUsage` (totals), `UsageCounter` (a period's cumulative quantity, which prices the
next event), `UniqueValue`, `GaugeSeries` and `GaugeReading`, `EventReversal`, `RejectedEvent`, `ImportRun`.

How it works: `events.py` reads and checks what came in, `ingest.py` finds duplicates, rates, burns and stores in one
transaction, `grouping.py` lets concurrent single requests of a process share one such transaction. `replay.py` sends
rejected events through again, `reversal.py` gives an event's credits back, `gauges.py` turns level x time into events
of its own, `importing.py` reads files. `checks.py` and `estimates.py` ask what ingest would say, `usage.py` reads.

Promises: an id counts once per account and source, permanently; the event, its credits, its lots, the balance, the
alerts and the daily totals are written together or not at all; a fact is never refused for lack of credits; what is
rejected is kept and can be replayed after the cause is fixed; an event is reversed once; a gauge is charged
its integral, in whatever order readings come; an import counts each row once, however often it is killed.

Boundaries: prices come from the catalog, credits move through the ledger; this room does neither itself.
"""
