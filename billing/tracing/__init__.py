"""What logs may say: the id of the request that is served, and errors without the secrets in them.

Nouns: a *request id* names one request in the answer, in the web's and the workers' logs and on rows of the outbox and
of received webhooks; a *secret* is a value that must never be written down.

Promises
- `redaction` takes out the installation's secrets, whatever looks like one, and the rows that PostgreSQL quotes.
- A request id is only for finding things again: nothing is decided by it.

Boundaries: imports no other room; knows nothing of logging's set-up, which is config/logs.py.
"""
