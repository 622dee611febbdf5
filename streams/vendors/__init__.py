"""What vendors' webhooks say, as events: bytes and headers in, events or a reason out.

Pure: no clock, no network, no Kafka; the instant and all that had to be fetched is handed in. `contract.py` says what a vendor
is, `signing.py` how requests are proved, `assembling.py` makes events of what a notification means, `connection.py` says what a
connection may change about that, and `connection_reading.py` with `own_reading.py` reads it. `registry.py` has the list of the
vendors, each a module with its name; the others have what some of them share: `billing.py`, `engagement.py` (mail), `sns.py`,
`form_fields.py`, and `schemes.py`, the proofs that a generic webhook may name. Read `typeform.py` first: it is the shortest that
has everything.
"""
