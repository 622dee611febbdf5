"""What vendors' webhooks say, as events: bytes and headers in, events or a reason out.

Pure: no clock, no network, no Kafka; the instant and all that had to be fetched is handed in. `contract.py` says what a vendor
is, `signing.py` how requests are proved, `assembling.py` makes events of what a notification means, `connection.py` says what a
connection may change about that. Each other module is one vendor, with its name; `registry.py` has the list of them.
Read `typeform.py` first: it is the shortest that has everything.
"""
